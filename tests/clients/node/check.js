// What the Node programs of this folder share: checks that stand alone, each with its own connection and its own time limit.
// The words are those of check.py: a check passes when it returns, and one line is printed for each.
'use strict'

const assert = require('node:assert')

const host = process.env.PGHOST || '127.0.0.1'
const port = Number(process.env.PGPORT || 8433)
const user = process.env.PGUSER || 'tidewater'
const database = process.env.PGDATABASE || 'tidewater'
const control = process.env.TIDEWATER_CONTROL === '1'
const only = process.env.TIDEWATER_CHECK || ''

const LIMIT_MS = 20000
const FOLLOW_MS = 5000
const ENDLESS = 'select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a + b < 0'

const shown = (value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v === undefined ? 'undefined' : v))

class Different extends Error {
  constructor(expected, got) {
    super(`expected ${shown(expected)} got ${shown(got)}`)
  }
}

function equal(got, expected) {
  try {
    assert.deepStrictEqual(got, expected)
  } catch {
    throw new Different(expected, got)
  }
}

// The call must fail with this SQLSTATE; gives the error back.
async function refused(sqlstate, promise) {
  let result
  try {
    result = await promise
  } catch (error) {
    if (error.code !== sqlstate) throw new Different(`error ${sqlstate}`, `${error.code}: ${error.message}`)
    return error
  }
  throw new Different(`error ${sqlstate}`, (result && result.rows) || result)
}

async function eventually(read, expected) {
  const end = Date.now() + FOLLOW_MS
  for (;;) {
    const got = await read()
    try {
      return equal(got, expected)
    } catch (different) {
      if (Date.now() > end) throw different
    }
    await pause(20)
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const limited = (promise, ms, what) => {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(what)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// What a client throws beside the statement that failed is told by that statement.
process.on('unhandledRejection', () => {})
process.on('uncaughtException', () => {})

class Suite {
  // connect() gives a new connection, close(connection) ends one.
  constructor(client, connect, close) {
    Object.assign(this, { client, connect, close, checks: [] })
  }

  check(what, body, { prepares = false } = {}) {
    if (prepares || what.includes(only)) this.checks.push([what, body])
  }

  async run() {
    let failed = 0
    try {
      await limited(this.connect().then(this.close), LIMIT_MS, 'expected a connection got none')
    } catch (error) {
      console.log(`FAIL ${this.client}: connect: ${oneLine(error)}\nend ${this.client}`)
      process.exit(1)
    }
    for (const [what, body] of this.checks) {
      let connection
      try {
        const all = (async () => {
          connection = await this.connect()
          await body(connection)
        })()
        await limited(all, LIMIT_MS, `expected an answer got none in ${LIMIT_MS / 1000} s`)
        console.log(`ok ${this.client}: ${what}`)
      } catch (error) {
        failed += 1
        const told = error.message && error.message.startsWith('expected ') ? '' : 'expected no error got '
        console.log(`FAIL ${this.client}: ${what}: ${told}${oneLine(error)}`)
      }
      if (connection) await limited(Promise.resolve(this.close(connection)), 1000, 'late').catch(() => {})
    }
    console.log(`end ${this.client}`)
    process.exit(failed ? 1 : 0)
  }
}

const oneLine = (error) => {
  const text = `${error.code ? error.code + ' ' : ''}${error.message || error}`.split(/\s+/).join(' ')
  return text.length <= 500 ? text : text.slice(0, 500) + '…'
}

const beginning = (prefix) => [
  `drop materialized view if exists ${prefix}_totals`,
  `drop table if exists ${prefix}_orders`,
  `drop table if exists ${prefix}_types`,
  `create table ${prefix}_orders (id bigint primary key, customer varchar(20) not null, amount numeric(12,2) default 0, at timestamptz)`,
  `insert into ${prefix}_orders values (1, 'ann', 10.50, '2024-01-01 00:00:00+00'), (2, 'bob', 20.25, '2024-01-02 00:00:00+00'), (3, 'ann', 5.00, null)`,
  `create materialized view ${prefix}_totals as select customer, count(*) as orders, sum(amount) as total from ${prefix}_orders group by customer`,
]

// As the text protocol gives them: bigint and numeric are texts.
const FIRST_TOTALS = [
  { customer: 'ann', orders: '2', total: '15.50' },
  { customer: 'bob', orders: '1', total: '20.25' },
]
const LAST_TOTALS = [
  { customer: 'ann', orders: '3', total: '16.75' },
  { customer: 'bob', orders: '1', total: '20.25' },
]

// [SQLSTATE, statement, place of the error in it]
const ERRORS = [
  ['42601', 'selct 1', 1],
  ['42P01', 'select * from nosuch', 15],
  ['42703', 'select nosuch', 8],
  ['42883', 'select nosuch(1)', 8],
  ['22012', 'select 1/0', undefined],
  ['22P02', "select 'x'::integer", 8],
  ['42704', 'select 1::nosuch', 11],
  ['25P01', 'savepoint a', undefined],
  ['26000', 'execute nosuch', undefined],
]

const awkward = 'tab\there, quote \' and ", back\\slash, {brace}, å, 🌊'

module.exports = { host, port, user, database, control, ENDLESS, ERRORS, FIRST_TOTALS, LAST_TOTALS, Suite, Different, awkward, beginning, equal, eventually, limited, pause, refused }
