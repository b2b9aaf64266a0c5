// Package account is who shops here. It owns the table account.
//
// Passwords are hashed with argon2id by the parameters that OWASP gives as a minimum. A hash takes 19 MiB and 20 ms of a
// processor, so hashes have a budget ([Config]): a quarter of this process's processors, and one hash at a time where that
// is less than one. Others wait within their context's deadline: known callers before strangers, and strangers in turns by
// where they come from ([Caller]), so that nobody can use the budget up. An unknown address costs as much as a wrong
// password, so the time of an answer does not tell which addresses have accounts.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrEmailTaken says that the address has an account already.
	ErrEmailTaken = errors.New("this e-mail address has an account already")
	// ErrCredentials says that there is no account with this address and password.
	ErrCredentials = errors.New("e-mail address or password is wrong")
	// ErrNotFound says that there is no such account (any more).
	ErrNotFound = errors.New("no such account")
	// ErrBusy says that too many passwords are being hashed.
	ErrBusy = errors.New("too many logins at once")
)

// Account is a registered customer.
type Account struct {
	ID        uuid.UUID
	Email     string // lower case
	Name      string
	CreatedAt time.Time
}

// Config bounds the work of hashing. Zero values mean the defaults.
type Config struct {
	Share int // of the processors that hashing may take, in percent; default 25
	Procs int // processors of this process; default GOMAXPROCS
	Queue int // known callers who wait for a turn, and strangers besides; default 64 each, more are refused with ErrBusy
}

// Store keeps accounts. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	hasher *hasher
}

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool, cfg Config) *Store { return &Store{pool, newHasher(cfg)} }

// SetShare changes the share of the processors that hashing may take, in percent
// from 1 to 100.
func (s *Store) SetShare(percent int) { s.hasher.setShare(percent) }

// Hashing returns what hashing has come to.
func (s *Store) Hashing() HashStats { return s.hasher.snapshot() }

const insertAccount = `-- name: account.insert
INSERT INTO account (id, email, name, password_hash) VALUES ($1, $2, $3, $4)
RETURNING id, email, name, created_at`

// Register makes an account. The address is lower case. It fails with [ErrEmailTaken] or [ErrBusy].
func (s *Store) Register(ctx context.Context, email, name, password string) (Account, error) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return Account{}, fmt.Errorf("register: %w", err)
	}
	rows, err := s.pool.Query(ctx, insertAccount, uuid.Must(uuid.NewV7()), email, name, hash)
	if err != nil {
		return Account{}, fmt.Errorf("register: %w", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Account])
	const uniqueViolation = "23505"
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == uniqueViolation && pgErr.ConstraintName == "account_email_key" {
		return Account{}, ErrEmailTaken
	}
	if err != nil {
		return Account{}, fmt.Errorf("register: %w", err)
	}
	a.CreatedAt = a.CreatedAt.UTC()
	return a, nil
}

// Authenticate returns the account with this address and password, or [ErrCredentials] or [ErrBusy].
func (s *Store) Authenticate(ctx context.Context, email, password string) (Account, error) {
	const selectByEmail = `-- name: account.by_email
SELECT id, email, name, created_at, password_hash FROM account WHERE email = $1`
	var a Account
	var hash string
	err := s.pool.QueryRow(ctx, selectByEmail, email).Scan(&a.ID, &a.Email, &a.Name, &a.CreatedAt, &hash)
	known := !errors.Is(err, pgx.ErrNoRows)
	if err != nil && known {
		return Account{}, fmt.Errorf("log in: %w", err)
	}
	if !known {
		hash = s.hasher.decoy
	}
	matches, err := s.hasher.verify(ctx, hash, password)
	if err != nil {
		return Account{}, fmt.Errorf("log in: %w", err)
	}
	if !known || !matches {
		return Account{}, ErrCredentials
	}
	a.CreatedAt = a.CreatedAt.UTC()
	return a, nil
}

// Get returns an account by its id, or [ErrNotFound].
func (s *Store) Get(ctx context.Context, id uuid.UUID) (Account, error) {
	const selectByID = `-- name: account.by_id
SELECT id, email, name, created_at FROM account WHERE id = $1`
	rows, err := s.pool.Query(ctx, selectByID, id)
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Account])
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrNotFound
	}
	if err != nil {
		return Account{}, fmt.Errorf("read account: %w", err)
	}
	a.CreatedAt = a.CreatedAt.UTC()
	return a, nil
}
