// pgx: everything described and binary, five ways of execution, batches, COPY in binary, types loaded from the catalog.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

type row struct {
	Customer string
	Orders   int64
	Total    string
}

func totals(ctx context.Context, c *pgx.Conn) ([]row, error) {
	if os.Getenv("TIDEWATER_CONTROL") == "1" {
		if err := execute(ctx, c, "refresh materialized view pgx_totals"); err != nil {
			return nil, err
		}
	}
	rows, err := c.Query(ctx, "select customer, orders, total::text from pgx_totals order by customer")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

func begin(ctx context.Context, c *pgx.Conn) error {
	err := execute(ctx, c,
		"drop materialized view if exists pgx_totals",
		"drop table if exists pgx_orders",
		"drop table if exists pgx_types",
		"create table pgx_orders (id bigint primary key, customer varchar(20) not null, amount numeric(12,2) default 0, at timestamptz)",
		"insert into pgx_orders values (1, 'ann', 10.50, '2024-01-01 00:00:00+00'), (2, 'bob', 20.25, '2024-01-02 00:00:00+00'), (3, 'ann', 5.00, null)",
		"create materialized view pgx_totals as select customer, count(*) as orders, sum(amount) as total from pgx_orders group by customer",
	)
	if err != nil {
		return err
	}
	got, err := totals(ctx, c)
	return first(err, equal(got, []row{{"ann", 2, "15.50"}, {"bob", 1, "20.25"}}))
}

func ends(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "insert into pgx_orders values ($1, $2, $3, now())", 4, "ann", "1.25"); err != nil {
		return err
	}
	expected := []row{{"ann", 3, "16.75"}, {"bob", 1, "20.25"}}
	end := time.Now().Add(follow)
	for {
		got, err := totals(ctx, c)
		if err = first(err, equal(got, expected)); err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// comesBack sends a value in every way of execution, reads it, and reads its text.
func comesBack[T any](typeName string, value T, text string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		for _, mode := range modes {
			var got T
			var gotText string
			var none *T
			err := c.QueryRow(ctx, fmt.Sprintf("select $1::%s, ($1::%s)::text, null::%s", typeName, typeName, typeName), mode, value).Scan(&got, &gotText, &none)
			if err = first(err, equal(got, value), equal(gotText, text), equal(none, (*T)(nil))); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
		}
		return nil
	}
}

func addTypes(s *suite) {
	when := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
	id := [16]byte{0x01, 0x88, 0xb1, 0xc2, 0x7b, 0x2c, 0x7d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	idText := "0188b1c2-7b2c-7def-8123-456789abcdef"
	addType(s, "boolean", true, "true")
	addType(s, "smallint", int16(-32768), "-32768")
	addType(s, "integer", int32(2147483647), "2147483647")
	addType(s, "bigint", int64(-9223372036854775808), "-9223372036854775808")
	addType(s, "real", float32(1.5), "1.5")
	addType(s, "double precision", 1e300, "1e+300")
	addType(s, "text", awkward, awkward)
	addType(s, "varchar(5)", "abcde", "abcde")
	addType(s, "bytea", []byte{0, 255, 92, 39}, "\\x00ff5c27")
	addType(s, "date", pgtype.Date{Time: time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), Valid: true}, "2024-02-29")
	addType(s, "time", pgtype.Time{Microseconds: 86399999999, Valid: true}, "23:59:59.999999")
	addType(s, "timestamp", pgtype.Timestamp{Time: when, Valid: true}, "2024-02-29 12:34:56.789")
	addType(s, "interval", pgtype.Interval{Months: 14, Days: 3, Microseconds: 4000005, Valid: true}, "1 year 2 mons 3 days 00:00:04.000005")
	addType(s, "uuid", pgtype.UUID{Bytes: id, Valid: true}, idText)
	addType(s, "integer[]", []int32{1, 2, 3}, "{1,2,3}")
	addType(s, "bigint[]", []*int64{ptr(int64(1)), nil}, "{1,NULL}")
	addType(s, "text[]", []string{"a b", "c\"d", "", "NULL", "e,f", "{}"}, `{"a b","c\"d","","NULL","e,f","{}"}`)
	addType(s, "double precision[]", []float64{0.5, 1e10}, "{0.5,10000000000}")
	addType(s, "boolean[]", []bool{true, false}, "{t,f}")
	addType(s, "uuid[]", []pgtype.UUID{{Bytes: id, Valid: true}}, "{"+idText+"}")
	addType(s, "date[]", []pgtype.Date{{Time: time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), Valid: true}}, "{2024-02-29}")
	addType(s, "jsonb", `{"a": [1, null], "b": "x\"y"}`, `{"a": [1, null], "b": "x\"y"}`)
	addType(s, "json", `{"a":"b"}`, `{"a":"b"}`)
	s.add("numeric(20,5) in every way of execution", numeric)
	s.add("timestamptz in every way of execution", func(ctx context.Context, c *pgx.Conn) error {
		for _, mode := range modes {
			var got time.Time
			var text string
			err := c.QueryRow(ctx, "select $1::timestamptz, ($1::timestamptz)::text", mode, when).Scan(&got, &text)
			if err = first(err, equal(got.UTC(), when), equal(text, "2024-02-29 12:34:56.789+00")); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
		}
		return nil
	})
}

func addType[T any](s *suite, typeName string, value T, text string) {
	s.add(typeName+" in every way of execution", comesBack(typeName, value, text))
}

func ptr[T any](v T) *T { return &v }

func numeric(ctx context.Context, c *pgx.Conn) error {
	for _, mode := range modes {
		for _, digits := range []string{"0.00000", "-1.50000", "123456789012345.67800"} {
			var sent, got pgtype.Numeric
			if err := sent.Scan(digits); err != nil {
				return err
			}
			var text string
			err := c.QueryRow(ctx, "select $1::numeric(20,5), ($1::numeric(20,5))::text", mode, sent).Scan(&got, &text)
			same := got.Valid && rational(got).Cmp(rational(sent)) == 0
			if err = first(err, equal(text, digits), equal(same, true)); err != nil {
				return fmt.Errorf("%s: %s: %w", mode, digits, err)
			}
		}
	}
	return nil
}

func rational(n pgtype.Numeric) *big.Rat {
	r := new(big.Rat).SetInt(n.Int)
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(n.Exp, -n.Exp))), nil)
	if n.Exp < 0 {
		return r.Quo(r, new(big.Rat).SetInt(power))
	}
	return r.Mul(r, new(big.Rat).SetInt(power))
}

func tableOfTypes(ctx context.Context, c *pgx.Conn) error {
	return execute(ctx, c, "create table pgx_types (id int primary key, b boolean, i2 smallint, i8 bigint, f8 double precision, n numeric(10,2), t text, d date, ts timestamptz, u uuid, a int[], j jsonb, by bytea)")
}

func written(ctx context.Context, c *pgx.Conn) error {
	for number, mode := range modes {
		when := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
		values := []any{true, int16(2), int64(8), 1.5, "1.25", "x", when, when, "0188b1c2-7b2c-7def-8123-456789abcdef", []int32{1, 2}, `{"k": 1}`, []byte{7}}
		arguments := append([]any{mode, number}, values...)
		if _, err := c.Exec(ctx, "insert into pgx_types values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", arguments...); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
		query := "select b::text, i2::text, i8::text, f8::text, n::text, t, d::text, u::text, a::text, j::text, by::text from pgx_types where id = $1 and ts = $2 and i8 = $3 and t = $4 and a = $5"
		rows, err := c.Query(ctx, query, mode, number, when, int64(8), "x", []int32{1, 2})
		if err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
		got, err := pgx.CollectExactlyOneRow(rows, texts)
		expected := []string{"true", "2", "8", "1.5", "1.25", "x", "2024-02-29", "0188b1c2-7b2c-7def-8123-456789abcdef", "{1,2}", `{"k": 1}`, `\x07`}
		if err = first(err, equal(got, expected)); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return nil
}

// texts reads a row all of whose columns are text.
func texts(r pgx.CollectableRow) ([]string, error) {
	got := make([]string, len(r.FieldDescriptions()))
	pointers := make([]any, len(got))
	for i := range got {
		pointers[i] = &got[i]
	}
	return got, r.Scan(pointers...)
}

func inferred(ctx context.Context, c *pgx.Conn) error {
	d, err := c.Prepare(ctx, "pgx_inferred", "select id, customer, amount from pgx_orders where id = $1 and at > $2 and amount > $3 and id = any($4) limit $5")
	if err != nil {
		return err
	}
	var columns []uint32
	for _, f := range d.Fields {
		columns = append(columns, f.DataTypeOID)
	}
	return first(equal(d.ParamOIDs, []uint32{20, 1184, 1700, 1016, 20}), equal(columns, []uint32{20, 1043, 1700}))
}

func fields(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, "select id, customer, amount, 1 from pgx_orders")
	if err != nil {
		return err
	}
	f := rows.FieldDescriptions()
	rows.Close()
	return first(
		equal([]string{f[0].Name, f[1].Name, f[3].Name}, []string{"id", "customer", "?column?"}),
		equal([]int32{f[1].TypeModifier, f[2].TypeModifier}, []int32{24, 786438}),
		equal([]uint16{f[0].TableAttributeNumber, f[2].TableAttributeNumber, f[3].TableAttributeNumber}, []uint16{1, 3, 0}),
		equal([]bool{f[0].TableOID > 0, f[3].TableOID > 0}, []bool{true, false}),
		equal(rows.CommandTag().String(), "SELECT 3"),
	)
}

func tags(ctx context.Context, c *pgx.Conn) error {
	if err := fresh(ctx, c, "pgx_tags"); err != nil {
		return err
	}
	for _, s := range []struct{ statement, tag string }{
		{"insert into pgx_tags values (1, 1), (2, 2)", "INSERT 0 2"}, {"update pgx_tags set n = 3", "UPDATE 2"}, {"delete from pgx_tags where id = 1", "DELETE 1"},
		{"select * from pgx_tags", "SELECT 1"}, {"set application_name = 'x'", "SET"}, {"begin", "BEGIN"}, {"rollback", "ROLLBACK"}, {"-- nothing", ""}, {"drop table pgx_tags", "DROP TABLE"},
	} {
		tag, err := c.Exec(ctx, s.statement)
		if err = first(err, equal(tag.String(), s.tag)); err != nil {
			return fmt.Errorf("%s: %w", s.statement, err)
		}
	}
	return nil
}

func failures(ctx context.Context, c *pgx.Conn) error {
	for _, e := range []struct {
		sqlstate, statement string
		position            int32
	}{
		{"42601", "selct 1", 1}, {"42P01", "select * from nosuch", 15}, {"42703", "select nosuch from pgx_orders", 8}, {"42883", "select nosuch(1)", 8}, {"22012", "select 1/0", 0},
		{"22P02", "select 'x'::integer", 8}, {"23505", "insert into pgx_orders values (1, 'x')", 0}, {"42P07", "create table pgx_orders (id int)", 0},
	} {
		for _, mode := range modes {
			_, err := c.Exec(ctx, e.statement, mode)
			var told *pgconn.PgError
			if err = refused(e.sqlstate, err); err != nil {
				return fmt.Errorf("%s, %s: %w", e.statement, mode, err)
			}
			_, err = c.Exec(ctx, e.statement, mode)
			errors.As(err, &told)
			if told.Position != e.position {
				return fmt.Errorf("%s: expected position %d got %d", e.statement, e.position, told.Position)
			}
		}
	}
	_, err := c.Exec(ctx, "insert into pgx_orders values ($1, 'x')", 1)
	var told *pgconn.PgError
	errors.As(err, &told)
	return first(refused("23505", err), equal(told.ConstraintName, "pgx_orders_pkey"), gives(ctx, c, int32(1), "select 1"))
}

func wrongParameters(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "select * from pgx_orders where id = $1", pgx.QueryExecModeExec, "x")
	if err = refused("22P02", err); err != nil {
		return err
	}
	_, err = c.PgConn().ExecParams(ctx, "select $1::int, $2::int", [][]byte{[]byte("1")}, nil, nil, nil).Close()
	return first(refused("08P01", err), gives(ctx, c, int32(1), "select 1"))
}

func prepared(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Prepare(ctx, "pgx_ps", "select customer from pgx_orders where id = $1"); err != nil {
		return err
	}
	for i := range 20 {
		if err := gives(ctx, c, []string{"ann", "bob"}[i%2], "pgx_ps", 1+i%2); err != nil {
			return err
		}
	}
	_, twice := c.PgConn().Prepare(ctx, "pgx_ps", "select 1", nil)
	return first(
		refused("42P05", twice),
		gives(ctx, c, int64(1), "select count(*) from pg_prepared_statements where name = 'pgx_ps'"),
		c.Deallocate(ctx, "pgx_ps"),
		refused("26000", c.PgConn().ExecPrepared(ctx, "pgx_ps", [][]byte{[]byte("1")}, nil, nil).Read().Err),
		c.DeallocateAll(ctx),
	)
}

func batch(ctx context.Context, c *pgx.Conn) error {
	if err := fresh(ctx, c, "pgx_batch"); err != nil {
		return err
	}
	b := &pgx.Batch{}
	for i := range 500 {
		b.Queue("insert into pgx_batch values ($1, $2)", i, i%7)
	}
	b.Queue("select count(*) from pgx_batch")
	results := c.SendBatch(ctx, b)
	for range 500 {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	var count int64
	if err := first(results.QueryRow().Scan(&count), equal(count, int64(500)), results.Close()); err != nil {
		return err
	}
	// A batch is one transaction: a failure undoes what stood before it, and what follows is skipped.
	bad := &pgx.Batch{}
	bad.Queue("insert into pgx_batch values ($1, 1)", 1000)
	bad.Queue("insert into pgx_batch values ($1, 1)", 1)
	bad.Queue("insert into pgx_batch values ($1, 1)", 1001)
	return first(refused("23505", c.SendBatch(ctx, bad).Close()), gives(ctx, c, int64(500), "select count(*) from pgx_batch"))
}

func pipeline(ctx context.Context, c *pgx.Conn) error {
	p := c.PgConn().StartPipeline(ctx)
	for i := range 3 {
		p.SendQueryParams("select $1::int", [][]byte{fmt.Append(nil, i)}, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for i := range 3 {
		result, err := p.GetResults()
		if err != nil {
			return err
		}
		read := result.(*pgconn.ResultReader).Read()
		if err := first(read.Err, equal(string(read.Rows[0][0]), fmt.Sprint(i))); err != nil {
			return err
		}
	}
	return p.Close()
}

func transactions(ctx context.Context, c *pgx.Conn) error {
	if err := fresh(ctx, c, "pgx_tx"); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into pgx_tx values (1, 1)")
		nested := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "insert into pgx_tx values (2, 2)")
			return first(err, errors.New("undo"))
		})
		return first(err, equal(nested.Error(), "undo"))
	})
	if err != nil {
		return err
	}
	if err := gives(ctx, c, int64(1), "select count(*) from pgx_tx"); err != nil {
		return err
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "select 1/0")
	_, after := tx.Exec(ctx, "select 1")
	return first(refused("22012", err), equal(c.PgConn().TxStatus(), byte('E')), refused("25P02", after), equal(tx.Commit(ctx), pgx.ErrTxCommitRollback), equal(c.PgConn().TxStatus(), byte('I')))
}

func isolation(ctx context.Context, c *pgx.Conn) error {
	for _, level := range []pgx.TxIsoLevel{pgx.Serializable, pgx.RepeatableRead, pgx.ReadCommitted, pgx.ReadUncommitted} {
		tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly, DeferrableMode: pgx.Deferrable})
		if err != nil {
			return err
		}
		err = gives(ctx, c, string(level), "show transaction_isolation")
		_, write := tx.Exec(ctx, "insert into pgx_orders values (1, 'x')")
		if err = first(err, refused("25006", write), tx.Rollback(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func copyFrom(ctx context.Context, c *pgx.Conn) error {
	err := execute(ctx, c, "drop table if exists pgx_copy", "create table pgx_copy (id bigint primary key, t text, n numeric(10,2), at timestamptz, a int[], j jsonb)")
	if err != nil {
		return err
	}
	when := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	count, err := c.CopyFrom(ctx, pgx.Identifier{"pgx_copy"}, []string{"id", "t", "n", "at", "a", "j"}, pgx.CopyFromSlice(20000, func(i int) ([]any, error) {
		return []any{int64(i), "x", "1.50", when, []int32{1, int32(i)}, map[string]any{"i": i}}, nil
	}))
	if err = first(err, equal(count, int64(20000))); err != nil {
		return err
	}
	err = first(
		gives(ctx, c, int64(20000), "select count(*) from pgx_copy"),
		gives(ctx, c, "30000.00", "select sum(n)::text from pgx_copy"),
		gives(ctx, c, []int32{1, 7}, "select a from pgx_copy where id = 7"),
		gives(ctx, c, "7", "select j->>'i' from pgx_copy where id = 7 and at = $1", when),
	)
	_, twice := c.CopyFrom(ctx, pgx.Identifier{"pgx_copy"}, []string{"id"}, pgx.CopyFromRows([][]any{{int64(30000)}, {int64(1)}}))
	return first(err, refused("23505", twice), gives(ctx, c, int64(20000), "select count(*) from pgx_copy"), execute(ctx, c, "drop table pgx_copy"))
}

func copyText(ctx context.Context, c *pgx.Conn) error {
	if err := fresh(ctx, c, "pgx_text"); err != nil {
		return err
	}
	tag, err := c.PgConn().CopyFrom(ctx, strings.NewReader("n,id\n10,1\n,2\n"), "copy pgx_text (n, id) from stdin with (format csv, header)")
	if err = first(err, equal(tag.String(), "COPY 2")); err != nil {
		return err
	}
	var out strings.Builder
	tag, err = c.PgConn().CopyTo(ctx, &out, "copy (select id, n from pgx_text order by id) to stdout")
	if err = first(err, equal(tag.String(), "COPY 2"), equal(out.String(), "1\t10\n2\t\\N\n")); err != nil {
		return err
	}
	_, err = c.PgConn().CopyFrom(ctx, io.MultiReader(strings.NewReader("3\t3\n"), brokenReader{}), "copy pgx_text from stdin")
	if err == nil {
		return errors.New("expected an error got none")
	}
	return gives(ctx, c, int64(2), "select count(*) from pgx_text")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("no more") }

func portal(ctx context.Context, c *pgx.Conn) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err = tx.Exec(ctx, "declare k cursor for select g from generate_series(1, 10) g order by g"); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "fetch 3 from k")
	if err != nil {
		return err
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err = first(err, equal(got, []int32{1, 2, 3})); err != nil {
		return err
	}
	return gives(ctx, c, int32(4), "fetch next from k")
}

func cancel(ctx context.Context, c *pgx.Conn) error {
	go func() {
		time.Sleep(300 * time.Millisecond)
		c.PgConn().CancelRequest(ctx)
	}()
	start := time.Now()
	_, err := c.Exec(ctx, endless)
	if err = first(refused("57014", err), equal(time.Since(start) < cancelled, true)); err != nil {
		return err
	}
	return gives(ctx, c, int32(1), "select 1")
}

func contextEnds(ctx context.Context, _ *pgx.Conn) error {
	c, err := connect(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	start := time.Now()
	_, err = c.Exec(short, endless)
	return first(equal(errors.Is(err, context.DeadlineExceeded), true), equal(time.Since(start) < cancelled, true))
}

func notices(ctx context.Context, _ *pgx.Conn) error {
	config, err := pgx.ParseConfig("")
	if err != nil {
		return err
	}
	var seen []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { seen = append(seen, n.Severity+" "+n.Message) }
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return first(execute(ctx, c, "drop table if exists pgx_nosuch"), equal(seen, []string{`NOTICE table "pgx_nosuch" does not exist, skipping`}))
}

func loadTypes(ctx context.Context, c *pgx.Conn) error {
	for name, oid := range map[string]uint32{"_int4": 1007, "_text": 1009, "_numeric": 1231, "_timestamptz": 1185} {
		t, err := c.LoadType(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := equal(t.OID, oid); err != nil {
			return err
		}
	}
	_, err := c.LoadType(ctx, "nosuch")
	return refused("42704", err)
}

func rowTypes(ctx context.Context, c *pgx.Conn) error {
	types, err := c.LoadTypes(ctx, []string{"pgx_orders"})
	if err != nil {
		return err
	}
	c.TypeMap().RegisterTypes(types)
	got, err := one[any](ctx, c, "select o from pgx_orders o where id = 1")
	if err != nil {
		return err
	}
	fields := got.(map[string]any)
	return first(equal(fields["id"], int64(1)), equal(fields["customer"], "ann"))
}

func pool(ctx context.Context, _ *pgx.Conn) error {
	p, err := pgxpool.New(ctx, "pool_max_conns=4")
	if err != nil {
		return err
	}
	defer p.Close()
	errs := make(chan error, 40)
	for i := range 40 {
		go func() {
			var got int
			errs <- first(p.QueryRow(ctx, "select $1::int", i).Scan(&got), equal(got, i))
		}()
	}
	for range 40 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return p.Ping(ctx)
}

func server(ctx context.Context, c *pgx.Conn) error {
	status := func(name string) string { return c.PgConn().ParameterStatus(name) }
	_, unknown := connect(ctx, "dbname=nosuch_db")
	return first(
		equal(strings.HasPrefix(status("server_version"), "15."), true),
		equal([]string{status("application_name"), status("TimeZone"), status("client_encoding"), status("standard_conforming_strings")}, []string{"pgx", "UTC", "UTF8", "on"}),
		refused("3D000", unknown),
		c.Ping(ctx),
	)
}

func main() {
	s := &suite{client: "pgx"}
	s.add("a table, rows and a materialized view", begin)
	s.add("a table with columns of many types", tableOfTypes)
	addTypes(s)
	s.add("values in columns and found again, in every way of execution", written)
	s.add("types of parameters and columns as Describe tells them", inferred)
	s.add("fields: names, modifiers, table and column", fields)
	s.add("tags", tags)
	s.add("errors: codes and places, in every way of execution", failures)
	s.add("wrong parameters: 22P02, 08P01", wrongParameters)
	s.add("a named statement, made, used, given up", prepared)
	s.add("a batch, and one that fails", batch)
	s.add("a pipeline", pipeline)
	s.add("transactions, nested ones, failed ones", transactions)
	s.add("isolation levels, read only, deferrable", isolation)
	s.add("COPY in binary: 20,000 rows, and a duplicate", copyFrom)
	s.add("COPY as text and CSV, and one given up", copyText)
	s.add("a cursor", portal)
	s.add("notices", notices)
	s.add("LoadType", loadTypes)
	s.add("a table's row type, and a row", rowTypes)
	s.add("a pool", pool)
	s.add("what the server says of itself", server)
	// What would keep a server busy if it went wrong stands last.
	s.add("cancel", cancel)
	s.add("a context that ends", contextEnds)
	s.add("the view follows an INSERT", ends)
	s.run()
}
