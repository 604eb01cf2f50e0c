// postgres.js (`postgres`): everything prepared and described, requests pipelined, types read from the catalog at the start.
'use strict'

const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const postgres = require('postgres')
const c = require('./check.js')
const { equal, refused } = c

// Connects with its first statement.
const connect = async (more = {}) =>
  postgres({ host: c.host, port: c.port, user: c.user, database: c.database, max: 1, onnotice: () => {}, connection: { application_name: 'postgres-js', TimeZone: 'UTC' }, ...more })

const suite = new c.Suite('postgres-js', connect, (sql) => sql.end({ timeout: 0 }))
const plain = (result) => result.map((row) => ({ ...row }))

async function totals(sql) {
  if (c.control) await sql`refresh materialized view pjs_totals`
  return plain(await sql`select customer, orders, total from pjs_totals order by customer`)
}

async function fresh(sql, name) {
  await sql.unsafe(`drop table if exists ${name}`)
  await sql.unsafe(`create table ${name} (id bigint primary key, n int)`)
}

suite.check(
  'a table, rows and a materialized view',
  async (sql) => {
    for (const statement of c.beginning('pjs')) await sql.unsafe(statement)
    equal(await totals(sql), c.FIRST_TOTALS)
  },
  { prepares: true },
)

const when = new Date('2024-02-29T12:34:56.789Z')
const TYPES = [
  ['boolean', true, true],
  ['smallint', -32768, -32768],
  ['integer', 2147483647, 2147483647],
  ['bigint', '9007199254740993', '9007199254740993'],
  ['real', 1.5, 1.5],
  ['double precision', 1e300, 1e300],
  ['numeric(20,5)', '123456789012345.678', '123456789012345.67800'],
  ['text', c.awkward, c.awkward],
  ['varchar(5)', 'abcde', 'abcde'],
  ['bytea', Buffer.from([0, 255, 92, 39]), Buffer.from([0, 255, 92, 39])],
  ['date', '2024-02-29', new Date('2024-02-29')],
  ['time', '23:59:59.999999', '23:59:59.999999'],
  ['timestamptz', when, when],
  ['interval', '1 day 02:03:04', '1 day 02:03:04'],
  ['uuid', '0188b1c2-7b2c-7def-8123-456789abcdef', '0188b1c2-7b2c-7def-8123-456789abcdef'],
  ['jsonb', { a: [1, 2.5, null], b: 'x"y' }, { a: [1, 2.5, null], b: 'x"y' }],
  ['json', { a: 1 }, { a: 1 }],
  ['integer[]', [1, 2, 3], [1, 2, 3]],
  ['text[]', ['a b', 'c"d', '', 'e,f'], ['a b', 'c"d', '', 'e,f']],
  ['uuid[]', ['0188b1c2-7b2c-7def-8123-456789abcdef'], ['0188b1c2-7b2c-7def-8123-456789abcdef']],
]
for (const [type, value, back] of TYPES) {
  suite.check(`${type} as parameter and result`, async (sql) => {
    equal((await sql.unsafe(`select $1::${type} as v`, [value]))[0].v, back)
    equal((await sql.unsafe(`select $1::${type} as v`, [null]))[0].v, null)
  })
}

suite.check('parameters described by the server: columns, lists, objects', async (sql) => {
  equal(plain(await sql`select customer from pjs_orders where id = ${2}`), [{ customer: 'bob' }])
  equal((await sql`select count(*)::int as n from pjs_orders where at >= ${new Date('2024-01-02')}`)[0].n, 1)
  equal((await sql`select count(*)::int as n from pjs_orders where id in ${sql([1, 2, 99])}`)[0].n, 2)
  equal((await sql`select count(*)::int as n from pjs_orders where id = any(${[1, 2, 99]})`)[0].n, 2)
  await fresh(sql, 'pjs_objects')
  await sql`insert into pjs_objects ${sql([{ id: 1, n: 2 }, { id: 3, n: null }])}`
  await sql`update pjs_objects set ${sql({ n: 7 }, 'n')} where id = ${3}`
  equal(plain(await sql`select * from ${sql('pjs_objects')} order by id`), [{ id: '1', n: 2 }, { id: '3', n: 7 }])
})

suite.check('arrays of every type, known from the catalog', async (sql) => {
  const [row] = await sql`select array[1, 2] as a, array['x', 'y z'] as b, array[timestamptz '2024-02-29 12:34:56.789+00'] as c, array[true] as d, array[1.5] as e`
  equal({ ...row }, { a: [1, 2], b: ['x', 'y z'], c: [when], d: [true], e: ['1.5'] })
})

suite.check('describe: types of parameters and columns', async (sql) => {
  const { types, columns } = await sql`select id, customer, amount from pjs_orders where id = ${1} and customer = ${'x'}`.describe()
  // PostgreSQL compares varchar as text; either type is sent alike.
  equal([types.map((t) => (t === 1043 ? 25 : t)), columns.map((f) => [f.name, f.type])], [[20, 25], [['id', 20], ['customer', 1043], ['amount', 1700]]])
})

suite.check('a hundred requests in one go', async (sql) => {
  const got = await Promise.all(Array.from({ length: 100 }, (_, i) => sql`select ${i}::int as i`))
  equal(got.map(([row]) => row.i), Array.from({ length: 100 }, (_, i) => i))
})

suite.check('requests in one go, one of them wrong: the others are answered', async (sql) => {
  const got = await Promise.allSettled([sql`select 1 as a`, sql`select * from nosuch`, sql`select 2 as a`])
  equal(got.map((r) => (r.status === 'fulfilled' ? r.value[0].a : r.reason.code)), [1, '42P01', 2])
})

suite.check('transactions: begin, savepoint, rollback, read only', async (sql) => {
  await fresh(sql, 'pjs_tx')
  await sql.begin(async (t) => {
    await t`insert into pjs_tx values (1, 1)`
    await t.savepoint(async (s) => {
      await s`insert into pjs_tx values (2, 2)`
      throw new Error('undo')
    }).catch(() => {})
    await t`insert into pjs_tx values (3, 3)`
  })
  await sql.begin(async (t) => {
    await t`delete from pjs_tx`
    throw new Error('undo')
  }).catch(() => {})
  equal((await sql`select id from pjs_tx order by id`).map((r) => r.id), ['1', '3'])
  await refused('25006', sql.begin('read only', (t) => t`insert into pjs_tx values (4, 4)`))
  equal((await sql.begin('isolation level repeatable read', (t) => t`show transaction_isolation`))[0].transaction_isolation, 'repeatable read')
})

suite.check('a cursor: portions through one portal', async (sql) => {
  let sum = 0
  let portions = 0
  for await (const portion of sql`select g from generate_series(1, 1000) g`.cursor(300)) {
    portions += 1
    for (const row of portion) sum += row.g
  }
  equal([sum, portions], [500500, 4])
})

suite.check('COPY FROM STDIN and TO STDOUT as streams', async (sql) => {
  await fresh(sql, 'pjs_copy')
  await pipeline(Readable.from(['1\t10\n', '2\t\\N\n']), await sql`copy pjs_copy from stdin`.writable())
  equal(plain(await sql`select * from pjs_copy order by id`), [{ id: '1', n: 10 }, { id: '2', n: null }])
  let text = ''
  for await (const chunk of await sql`copy (select id, n from pjs_copy order by id) to stdout with csv header`.readable()) text += chunk
  equal(text, 'id,n\n1,10\n2,\n')
})

suite.check('simple queries: several statements, several results', async (sql) => {
  const got = await sql.unsafe("select 1 as a; select 'x' as b").simple()
  equal(got.map(plain), [[{ a: 1 }], [{ b: 'x' }]])
})

suite.check('counts, commands, columns, statement', async (sql) => {
  await fresh(sql, 'pjs_tags')
  const got = await sql`insert into pjs_tags values (1, 1), (2, 2)`
  equal([got.command, got.count], ['INSERT', 2])
  const read = await sql`select id, n from pjs_tags`
  equal([read.command, read.count, read.columns.map((f) => f.name)], ['SELECT', 2, ['id', 'n']])
})

for (const [sqlstate, statement, position] of c.ERRORS) {
  suite.check(`error ${sqlstate}: ${statement}`, async (sql) => {
    const error = await refused(sqlstate, sql.unsafe(statement))
    equal([error.severity, error.position], ['ERROR', position === undefined ? undefined : String(position)])
    equal((await sql`select 1 as a`)[0].a, 1)
  })
}

suite.check('notices reach the handler', async () => {
  const seen = []
  const sql = await connect({ onnotice: (n) => seen.push(n.message) })
  await sql`drop table if exists pjs_nosuch`
  await sql.end({ timeout: 0 })
  equal(seen, ['table "pjs_nosuch" does not exist, skipping'])
})

suite.check('settings of the connection, and what the server tells', async (sql) => {
  equal((await sql`show application_name`)[0].application_name, 'postgres-js')
  equal([sql.parameters.server_encoding, sql.parameters.TimeZone, sql.parameters.integer_datetimes], ['UTF8', 'UTC', 'on'])
})

suite.check('a statement after its table was made anew', async (sql) => {
  await fresh(sql, 'pjs_replan')
  const read = () => sql`select * from pjs_replan where id = ${1}`
  await read()
  await sql`drop table pjs_replan`
  await sql`create table pjs_replan (id bigint primary key, t text, n int)`
  await sql`insert into pjs_replan values (1, 'x', 2)`
  equal(plain(await read()), [{ id: '1', t: 'x', n: 2 }])
})

// What would keep a server busy if it went wrong stands last.

suite.check('cancel', async (sql) => {
  const query = sql.unsafe(c.ENDLESS)
  const running = refused('57014', query)
  await c.pause(300)
  query.cancel()
  await running
  equal((await sql`select 1 as a`)[0].a, 1)
})

suite.check(
  'the view follows an INSERT',
  async (sql) => {
    await sql`insert into pjs_orders values (${4}, ${'ann'}, ${'1.25'}, now())`
    await c.eventually(() => totals(sql), c.LAST_TOTALS)
  },
  { prepares: true },
)

suite.run()
