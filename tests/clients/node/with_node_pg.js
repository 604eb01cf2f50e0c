// node-postgres (`pg`): typed and untyped parameters in text, prepared statements, cursors, COPY streams, pools.
'use strict'

const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')
const pg = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const copy = require('pg-copy-streams')
const c = require('./check.js')
const { equal, refused } = c

const address = { host: c.host, port: c.port, user: c.user, database: c.database, application_name: 'node-pg', options: '-c TimeZone=UTC' }

async function connect(more = {}) {
  const client = new pg.Client({ ...address, ...more })
  // A connection that the server ends is seen in the check that is running.
  client.on('error', () => {})
  await client.connect()
  return client
}

const suite = new c.Suite('node-pg', connect, (client) => client.end())
const rows = async (client, ...query) => (await client.query(...query)).rows
const one = async (client, ...query) => Object.values((await rows(client, ...query))[0])[0]

async function totals(client) {
  if (c.control) await client.query('refresh materialized view npg_totals')
  return rows(client, 'select customer, orders, total from npg_totals order by customer')
}

async function fresh(client, name) {
  await client.query(`drop table if exists ${name}`)
  await client.query(`create table ${name} (id bigint primary key, n int)`)
}

suite.check(
  'a table, rows and a materialized view',
  async (client) => {
    for (const statement of c.beginning('npg')) await client.query(statement)
    equal(await totals(client), c.FIRST_TOTALS)
  },
  { prepares: true },
)

// Types: [type, parameter, what comes back, its text]
const when = new Date('2024-02-29T12:34:56.789Z')
const TYPES = [
  ['boolean', true, true, 'true'],
  ['smallint', -32768, -32768, '-32768'],
  ['integer', 2147483647, 2147483647, '2147483647'],
  ['bigint', 9007199254740993n, '9007199254740993', '9007199254740993'],
  ['real', 1.5, 1.5, '1.5'],
  ['double precision', 1e300, 1e300, '1e+300'],
  ['numeric(20,5)', '123456789012345.678', '123456789012345.67800', '123456789012345.67800'],
  ['text', c.awkward, c.awkward, c.awkward],
  ['varchar(5)', 'abcde', 'abcde', 'abcde'],
  ['bytea', Buffer.from([0, 255, 92, 39]), Buffer.from([0, 255, 92, 39]), '\\x00ff5c27'],
  ['time', '23:59:59.999999', '23:59:59.999999', '23:59:59.999999'],
  ['timestamptz', when, when, '2024-02-29 12:34:56.789+00'],
  ['uuid', '0188b1c2-7b2c-7def-8123-456789abcdef', '0188b1c2-7b2c-7def-8123-456789abcdef', '0188b1c2-7b2c-7def-8123-456789abcdef'],
  ['jsonb', { a: [1, 2.5, null], b: 'x"y' }, { a: [1, 2.5, null], b: 'x"y' }, '{"a": [1, 2.5, null], "b": "x\\"y"}'],
  ['json', { a: 1 }, { a: 1 }, '{"a":1}'],
  ['integer[]', [1, null, 3], [1, null, 3], '{1,NULL,3}'],
  ['bigint[]', ['10000000000'], ['10000000000'], '{10000000000}'],
  ['text[]', ['a b', 'c"d', null, '', 'e,f'], ['a b', 'c"d', null, '', 'e,f'], '{"a b","c\\"d",NULL,"","e,f"}'],
  ['boolean[]', [true, false], [true, false], '{t,f}'],
  ['double precision[]', [0.5, 1e10], [0.5, 1e10], '{0.5,10000000000}'],
  ['timestamptz[]', [when], [when], '{"2024-02-29 12:34:56.789+00"}'],
]
for (const [type, value, back, text] of TYPES) {
  suite.check(`${type} as parameter and result`, async (client) => {
    equal(await one(client, `select $1::${type} as v`, [value]), back)
    equal(await one(client, `select ($1::${type})::text as v`, [value]), text)
    equal(await one(client, `select $1::${type} as v`, [null]), null)
  })
}

suite.check('date, timestamp and interval', async (client) => {
  equal(await one(client, 'select $1::date::text', ['2024-02-29']), '2024-02-29')
  equal(await one(client, 'select $1::timestamp::text', ['2024-02-29 12:34:56.5']), '2024-02-29 12:34:56.5')
  equal((await one(client, 'select $1::date', ['2024-02-29'])).getDate(), 29)
  const interval = await one(client, "select interval '1 year 2 months 3 days 4 hours 5.5 seconds' as i")
  equal({ ...interval }, { years: 1, months: 2, days: 3, hours: 4, seconds: 5, milliseconds: 500 })
  equal(await one(client, 'select $1::interval::text', ['36 hours']), '36:00:00')
})

suite.check('results in binary', async (client) => {
  const got = await client.query({ text: "select 7::int4 as a, 9::int8 as b, true as c, 'x'::text as d, $1::int2 as e", values: [2], binary: true })
  equal(got.rows[0], { a: 7, b: '9', c: true, d: 'x', e: 2 })
  equal(got.fields.map((f) => f.format), Array(5).fill('binary'))
})

suite.check('parameters without a type: from the column, the comparison, ANY, LIMIT', async (client) => {
  equal(await one(client, 'select customer from npg_orders where id = $1', [2]), 'bob')
  equal(await one(client, 'select count(*) from npg_orders where at >= $1', ['2024-01-02']), '1')
  equal(await one(client, 'select count(*) from npg_orders where amount > $1', [10.4]), '2')
  equal(await one(client, 'select count(*) from npg_orders where id = any($1)', [[1, 2, 99]]), '2')
  equal((await rows(client, 'select id from npg_orders order by id limit $1 offset $2', [1, 1]))[0].id, '2')
  await fresh(client, 'npg_untyped')
  await client.query('insert into npg_untyped values ($1, $2)', ['5', '6'])
  equal(await rows(client, 'select * from npg_untyped'), [{ id: '5', n: 6 }])
})

suite.check('text of eight megabytes, and a thousand parameters', async (client) => {
  const text = 'ünïcode '.repeat(1 << 20)
  equal((await one(client, 'select $1::text as t', [text])) === text, true)
  equal(await one(client, `select ${Array.from({ length: 1000 }, (_, i) => `$${i + 1}::bigint`).join(' + ')} as s`, Array(1000).fill(1)), '1000')
})

// Results and errors

suite.check('fields: names, type OIDs, modifiers, table and column', async (client) => {
  const { fields, command, rowCount } = await client.query("select id, customer, amount, 1, 'x' from npg_orders")
  equal([command, rowCount], ['SELECT', 3])
  equal(
    fields.map((f) => [f.name, f.dataTypeID, f.dataTypeModifier, f.columnID, f.tableID > 0]),
    [
      ['id', 20, -1, 1, true],
      ['customer', 1043, 24, 2, true],
      ['amount', 1700, 786438, 3, true],
      ['?column?', 23, -1, 0, false],
      ['?column?', 25, -1, 0, false],
    ],
  )
})

suite.check('tags and row counts', async (client) => {
  await fresh(client, 'npg_tags')
  const tags = []
  for (const statement of ['insert into npg_tags values (1, 1), (2, 2)', 'update npg_tags set n = 3', 'delete from npg_tags where id = 1', 'select * from npg_tags']) {
    const { command, rowCount } = await client.query(statement)
    tags.push([command, rowCount])
  }
  equal(tags, [['INSERT', 2], ['UPDATE', 2], ['DELETE', 1], ['SELECT', 1]])
})

suite.check('several statements in one text give several results', async (client) => {
  const results = await client.query("select 1 as a; select 'x' as b, 2 as c; set application_name = 'y'")
  equal(results.map((r) => [r.command, r.rows]), [['SELECT', [{ a: 1 }]], ['SELECT', [{ b: 'x', c: 2 }]], ['SET', []]])
})

suite.check('an empty statement', async (client) => {
  equal(await rows(client, ''), [])
  equal(await rows(client, '-- nothing', []), [])
})

suite.check('rows as arrays, two columns of one name', async (client) => {
  equal((await client.query({ text: 'select 1 as a, 2 as a', rowMode: 'array' })).rows, [[1, 2]])
})

for (const [sqlstate, statement, position] of c.ERRORS) {
  suite.check(`error ${sqlstate}: ${statement}`, async (client) => {
    for (const query of [{ text: statement }, { text: statement, values: [] }]) {
      const error = await refused(sqlstate, client.query(query))
      equal([error.severity, error.position], ['ERROR', position === undefined ? undefined : String(position)])
    }
    equal(await one(client, 'select 1'), 1)
  })
}

suite.check('the fields of a unique violation', async (client) => {
  const error = await refused('23505', client.query("insert into npg_orders values ($1, 'x')", [1]))
  equal([error.schema, error.table, error.constraint, error.detail], ['public', 'npg_orders', 'npg_orders_pkey', 'Key (id)=(1) already exists.'])
})

suite.check('notices reach the listener', async (client) => {
  const seen = []
  client.on('notice', (n) => seen.push([n.severity, n.message]))
  await client.query('drop table if exists npg_nosuch')
  equal(seen, [['NOTICE', 'table "npg_nosuch" does not exist, skipping']])
})

// Statements, transactions

suite.check('a named statement, parsed once', async (client) => {
  for (let i = 0; i < 20; i += 1) {
    equal(await one(client, { name: 'npg_named', text: 'select customer from npg_orders where id = $1', values: [1 + (i % 2)] }), ['ann', 'bob'][i % 2])
  }
  equal(await one(client, "select count(*) from pg_prepared_statements where name = 'npg_named'"), '1')
})

suite.check('many queries at once wait for each other', async (client) => {
  const got = await Promise.all(Array.from({ length: 50 }, (_, i) => one(client, 'select $1::int as i', [i])))
  equal(got, Array.from({ length: 50 }, (_, i) => i))
})

suite.check('transactions: COMMIT, ROLLBACK, savepoint', async (client) => {
  await fresh(client, 'npg_tx')
  await client.query('begin')
  await client.query('insert into npg_tx values (1, 1)')
  await client.query('savepoint s')
  await refused('23505', client.query('insert into npg_tx values (1, 1)'))
  await refused('25P02', client.query('select 1'))
  await client.query('rollback to savepoint s')
  await client.query('insert into npg_tx values (2, 2)')
  await client.query('commit')
  await client.query('begin')
  await client.query('delete from npg_tx')
  await client.query('rollback')
  equal(await one(client, 'select count(*) from npg_tx'), '2')
})

suite.check('a failed transaction: COMMIT answers ROLLBACK', async (client) => {
  await client.query('begin')
  await refused('22012', client.query('select $1::int / 0', [1]))
  await refused('25P02', client.query('select $1::int', [1]))
  equal((await client.query('commit')).command, 'ROLLBACK')
})

// Cursors, COPY

suite.check('pg-cursor: reads in portions, closes early', async (client) => {
  const cursor = client.query(new Cursor('select g from generate_series(1, $1::int) g order by g', [1000]))
  equal((await cursor.read(3)).map((r) => r.g), [1, 2, 3])
  equal((await cursor.read(100)).length, 100)
  await cursor.close()
  equal(await one(client, 'select 1'), 1)
  const whole = client.query(new Cursor('select g from generate_series(1, 5) g'))
  equal((await whole.read(10)).length, 5)
  equal((await whole.read(10)).length, 0)
  await whole.close()
})

suite.check('pg-query-stream: a hundred thousand rows', async (client) => {
  let sum = 0
  for await (const row of client.query(new QueryStream('select g from generate_series(1, 100000) g', [], { batchSize: 1000 }))) sum += row.g
  equal(sum, 5000050000)
})

suite.check('COPY FROM STDIN and TO STDOUT', async (client) => {
  await fresh(client, 'npg_copy')
  const source = Readable.from(Array.from({ length: 1000 }, (_, i) => `${i}\t${i % 10}\n`))
  const into = client.query(copy.from('copy npg_copy from stdin'))
  await pipeline(source, into)
  equal(into.rowCount, 1000)
  let text = ''
  const sink = new Writable({
    write(chunk, _, done) {
      text += chunk
      done()
    },
  })
  await pipeline(client.query(copy.to('copy (select id, n from npg_copy where id < 2 order by id) to stdout with (format csv, header)')), sink)
  equal(text, 'id,n\n0,0\n1,1\n')
})

suite.check('a bad row of COPY: nothing is loaded', async (client) => {
  await fresh(client, 'npg_bad')
  const error = await refused('22P02', pipeline(Readable.from(['1\t1\n', '2\tx\n']), client.query(copy.from('copy npg_bad from stdin'))))
  equal(error.where, 'COPY npg_bad, line 2, column n: "x"')
  equal(await one(client, 'select count(*) from npg_bad'), '0')
})

// Session

suite.check('a pool: connections shared, given back', async () => {
  const pool = new pg.Pool({ ...address, max: 4 })
  const got = await Promise.all(Array.from({ length: 40 }, (_, i) => one(pool, 'select $1::int as i', [i])))
  equal(got.reduce((a, b) => a + b), 780)
  equal(pool.totalCount <= 4, true)
  await pool.end()
})

suite.check('settings at the start', async (client) => {
  equal(await one(client, 'show application_name'), 'node-pg')
  equal(await one(client, 'show TimeZone'), 'UTC')
  equal(String(await one(client, 'show server_version')).startsWith('15.'), true)
})

suite.check('an unknown database: 3D000', async () => {
  await refused('3D000', connect({ database: 'nosuch_db' }))
})

// What would keep a server busy if it went wrong stands last.

suite.check('cancel from a second connection', async (client) => {
  const running = refused('57014', client.query(c.ENDLESS))
  await c.pause(300)
  const other = await connect()
  await other.query('select pg_cancel_backend($1)', [client.processID])
  await running
  await other.end()
  equal(await one(client, 'select 1'), 1)
})

suite.check('statement_timeout given with the connection', async () => {
  const client = await connect({ statement_timeout: 200 })
  equal(await one(client, 'show statement_timeout'), '200ms')
  await refused('57014', client.query(c.ENDLESS))
  await client.end()
})

suite.check(
  'the view follows an INSERT',
  async (client) => {
    await client.query('insert into npg_orders values ($1, $2, $3, now())', [4, 'ann', '1.25'])
    await c.eventually(() => totals(client), c.LAST_TOTALS)
  },
  { prepares: true },
)

suite.run()
