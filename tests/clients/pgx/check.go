package main

// Checks that stand alone, each with its own connection and its own time limit, as in check.py: a check passes when it returns nil,
// and one line is printed for each.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	limit     = 20 * time.Second
	follow    = 5 * time.Second
	cancelled = 5 * time.Second
	endless   = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a + b < 0"
	awkward   = "tab\there, quote ' and \", back\\slash, {brace}, å, 🌊"
)

type check struct {
	what string
	body func(context.Context, *pgx.Conn) error
}

type suite struct {
	client string
	checks []check
}

// add keeps a check; one that prepares runs also when only some are chosen.
func (s *suite) add(what string, body func(context.Context, *pgx.Conn) error) {
	prepares := strings.HasPrefix(what, "a table") || strings.HasPrefix(what, "the view follows")
	if prepares || strings.Contains(what, os.Getenv("TIDEWATER_CHECK")) {
		s.checks = append(s.checks, check{what, body})
	}
}

func (s *suite) run() {
	failed := 0
	for number, c := range s.checks {
		problem := outcome(c.body)
		if problem == nil {
			fmt.Printf("ok %s: %s\n", s.client, c.what)
			continue
		}
		failed++
		text := strings.Join(strings.Fields(problem.Error()), " ")
		if !strings.HasPrefix(text, "expected ") {
			text = "expected no error got " + text
		}
		fmt.Printf("FAIL %s: %s: %s\n", s.client, c.what, text)
		var refused *pgconn.ConnectError
		if number == 0 && errors.As(problem, &refused) {
			break // nothing else could be told
		}
	}
	fmt.Printf("end %s\n", s.client)
	if failed > 0 {
		os.Exit(1)
	}
}

func outcome(body func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		c, err := connect(ctx, "")
		if err == nil {
			defer c.Close(context.Background())
			err = body(ctx, c)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + time.Second):
		return fmt.Errorf("expected an answer got none in %s", limit)
	}
}

// connect takes the address from PGHOST, PGPORT, PGUSER and PGDATABASE.
func connect(ctx context.Context, more string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, "application_name=pgx timezone=UTC "+more)
}

func equal(got, expected any) error {
	if !reflect.DeepEqual(got, expected) {
		return fmt.Errorf("expected %#v got %#v", expected, got)
	}
	return nil
}

func refused(sqlstate string, err error) error {
	var told *pgconn.PgError
	if !errors.As(err, &told) || told.Code != sqlstate {
		return fmt.Errorf("expected error %s got %v", sqlstate, err)
	}
	return nil
}

// first gives the first error of several.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// one reads a single value.
func one[T any](ctx context.Context, c *pgx.Conn, query string, arguments ...any) (T, error) {
	var value T
	err := c.QueryRow(ctx, query, arguments...).Scan(&value)
	return value, err
}

// gives checks a single value.
func gives[T any](ctx context.Context, c *pgx.Conn, expected T, query string, arguments ...any) error {
	got, err := one[T](ctx, c, query, arguments...)
	return first(err, equal(got, expected))
}

func execute(ctx context.Context, c *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func fresh(ctx context.Context, c *pgx.Conn, name string) error {
	return execute(ctx, c, "drop table if exists "+name, "create table "+name+" (id bigint primary key, n int)")
}
