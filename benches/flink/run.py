#!/usr/bin/env python3
"""Runs one Nexmark query on the Flink cluster of cluster.sh and prints what it took, as one line of JSON.

  KAFKA=127.0.0.1:9092 TOPIC_PREFIX=nexmark-2000000- run.py q3 rocksdb

A fresh TaskManager, a cold run (the JVM has compiled nothing yet), then a warm one, which is what counts. Input: every row that is now in
the Kafka topics. Output: the connector `blackhole`. Seconds: the job's time from RUNNING to FINISHED, so neither submission nor planning; CPU
seconds: the TaskManager's, user and system; memory: the TaskManager's peak since the run began. Standard library only.
"""
import json, os, re, subprocess, sys, time, urllib.error, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
# The heap backend has no use for managed memory beyond its windows' buffers: the rest is heap.
TASK_MANAGER = {"rocksdb": [], "hashmap": ["-Dtaskmanager.memory.managed.fraction=0.1"]}
# As in Flink's published Nexmark runs: rows are gathered for up to 2 s before state is touched.
SESSION = {
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
}
LIMIT = 600  # seconds, of one run


def environment():
    out = subprocess.run(["bash", "-c", f"source '{HERE}/env.sh'; env -0"], check=True, capture_output=True).stdout
    return dict(pair.split("=", 1) for pair in out.decode(errors="replace").split("\0") if "=" in pair)


ENV = environment()


def http(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as e:
        raise RuntimeError(f"{method} {url}: {e.code} {e.read().decode(errors='replace')[:1500]}")


def job_manager(path, method="GET"):
    return http(method, f"http://127.0.0.1:{ENV['FLINK_REST_PORT']}{path}")


class Session:
    """One session of the SQL Gateway."""

    def __init__(self, properties):
        self.host = f"http://127.0.0.1:{ENV['SQL_GATEWAY_PORT']}"
        self.handle = http("POST", f"{self.host}/v1/sessions", {"properties": properties})["sessionHandle"]

    def run(self, sql):
        """The job that the statement started, if it did."""
        at = f"/v1/sessions/{self.handle}"
        operation = http("POST", f"{self.host}{at}/statements", {"statement": sql})["operationHandle"]
        job, url = None, f"{at}/operations/{operation}/result/0"
        while url:
            answer = http("GET", self.host + url)
            if answer.get("resultType") == "NOT_READY":
                time.sleep(0.05)
                continue
            job = answer.get("jobID") or job
            if answer.get("resultType") == "EOS":
                break
            url = answer.get("nextResultUri")
        return job


def text(path):
    raw = re.sub(r"^\s*--.*$", "", open(path).read(), flags=re.M)
    return re.sub(r"\$\{(\w+)\}", lambda m: ENV[m.group(1)], raw).strip()


def task_manager():
    return int(open(f"{ENV['FLINK_RUN']}/pid/taskmanager").read())


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    return int(re.search(r"VmHWM:\s*(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024


def wait(job):
    end = time.time() + LIMIT
    while True:
        try:
            info = job_manager(f"/jobs/{job}")
        except RuntimeError:  # not known yet
            info = {"state": "UNKNOWN"}
        if info["state"] in ("FINISHED", "FAILED", "CANCELED"):
            return info
        if time.time() > end:
            job_manager(f"/jobs/{job}?mode=cancel", "PATCH")
            end = time.time() + 60
        time.sleep(0.1)


def one_run(query, backend):
    incremental = str(backend == "rocksdb").lower()
    session = Session({**SESSION, "state.backend.type": backend, "execution.checkpointing.incremental": incremental})
    for statement in filter(None, map(str.strip, text(f"{HERE}/ddl.sql").split(";"))):
        session.run(statement)
    pid = task_manager()
    open(f"/proc/{pid}/clear_refs", "w").write("5")  # the peak begins anew
    before = cpu_seconds(pid)
    info = wait(session.run(f"CREATE TABLE sink_{query} WITH ('connector' = 'blackhole') AS {text(f'{HERE}/queries/{query}.sql')}"))
    if info["state"] != "FINISHED":
        raise RuntimeError(f"{query} with {backend}: {info['state']}")
    stamps = info["timestamps"]
    return {"seconds": (stamps["FINISHED"] - stamps["RUNNING"]) / 1000, "cpu_seconds": cpu_seconds(pid) - before, "peak_mib": peak_mib(pid)}


def main():
    query, backend = sys.argv[1:]
    subprocess.run([f"{HERE}/cluster.sh", "tm-restart", *TASK_MANAGER[backend]], check=True, stdout=subprocess.DEVNULL)
    one_run(query, backend)
    print(json.dumps(one_run(query, backend)))


main()
