package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrCredentials says that there is no account with this address and
	// password.
	ErrCredentials = errors.New("e-mail address or password is wrong")
	// ErrNotFound says that there is no such account any more.
	ErrNotFound = errors.New("no such account")
	// ErrBusy says that too many passwords are being hashed.
	ErrBusy = errors.New("too many logins at once")
)

// Account is a registered customer.
type Account struct {
	ID        uuid.UUID
	Email     string // as it is stored: lower case, one of the forms of a [Login]
	Name      string
	CreatedAt time.Time
	// PasswordID changes with the stored password. It tells nothing of it.
	PasswordID PasswordID
}

// A PasswordID tells a stored password from the one before it, or from one that
// was hashed anew.
type PasswordID [16]byte

func passwordID(hash string) (id PasswordID) {
	sum := sha256.Sum256([]byte(hash))
	copy(id[:], sum[:])
	return id
}

// Config bounds the work of hashing. Zero values mean the defaults.
type Config struct {
	Share int // of the processors that hashing may take, in percent; default 25
	Procs int // processors of this process; default GOMAXPROCS
	// Queue is how many known callers may wait for a turn, and how many
	// strangers besides; default 64 each. More are refused with [ErrBusy].
	Queue int
}

// Store keeps accounts. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	hasher *hasher
}

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool, cfg Config) *Store { return &Store{pool, newHasher(cfg)} }

// SetShare changes the share of the processors that hashing may take, in
// percent from 1 to 100.
func (s *Store) SetShare(percent int) { s.hasher.setShare(percent) }

// Hashing returns what hashing has come to.
func (s *Store) Hashing() HashStats { return s.hasher.snapshot() }

// A Login is what a customer says to be let in.
type Login struct {
	Email string // in lower case, the form in which new accounts are stored
	// OldEmail is the form in which an earlier release stored the address; ""
	// or the same as Email where there is none.
	OldEmail string
	Password string // valid UTF-8, as it was typed
}

// emails are the forms of the address under which there may be an account.
func (l Login) emails() []string {
	if l.OldEmail == "" || l.OldEmail == l.Email {
		return []string{l.Email}
	}
	return []string{l.Email, l.OldEmail}
}

// credential is an account with its password's hash.
type credential struct {
	Account
	Hash string
}

// Register makes an account, or logs in where the address has one: made tells
// which. It fails with [ErrCredentials] where the account has another password,
// or with [ErrBusy]. The caller has checked the password ([CheckPassword]).
func (s *Store) Register(ctx context.Context, l Login, name string) (a Account, made bool, err error) {
	stored, err := s.find(ctx, l)
	if err != nil {
		return Account{}, false, fmt.Errorf("register: %w", err)
	}
	if len(stored) == 0 {
		if a, made, err = s.insert(ctx, l, name); err != nil {
			return Account{}, false, fmt.Errorf("register: %w", err)
		}
		if made {
			return a, true, nil
		}
		// Somebody else has registered the address meanwhile.
		if stored, err = s.find(ctx, l); err != nil {
			return Account{}, false, fmt.Errorf("register: %w", err)
		}
	}
	a, err = s.match(ctx, stored, l)
	if err != nil && !errors.Is(err, ErrCredentials) {
		err = fmt.Errorf("register: %w", err)
	}
	return a, false, err
}

// Authenticate returns the account with this address and password, or
// [ErrCredentials] or [ErrBusy].
func (s *Store) Authenticate(ctx context.Context, l Login) (Account, error) {
	stored, err := s.find(ctx, l)
	if err != nil {
		return Account{}, fmt.Errorf("log in: %w", err)
	}
	a, err := s.match(ctx, stored, l)
	if err != nil && !errors.Is(err, ErrCredentials) {
		err = fmt.Errorf("log in: %w", err)
	}
	return a, err
}

// find returns the accounts with an address, by their form of it.
func (s *Store) find(ctx context.Context, l Login) (map[string]credential, error) {
	const selectByEmail = `-- name: account.by_email
SELECT id, email, name, created_at, password_hash FROM account WHERE email = ANY ($1)`
	rows, err := s.pool.Query(ctx, selectByEmail, l.emails())
	if err != nil {
		return nil, err
	}
	stored := make(map[string]credential, 1)
	var c credential
	_, err = pgx.ForEachRow(rows, []any{&c.ID, &c.Email, &c.Name, &c.CreatedAt, &c.Hash}, func() error {
		c.CreatedAt, c.PasswordID = c.CreatedAt.UTC(), passwordID(c.Hash)
		stored[c.Email] = c
		return nil
	})
	return stored, err
}

// insert makes an account unless there is one with this address.
func (s *Store) insert(ctx context.Context, l Login, name string) (a Account, made bool, err error) {
	hash, err := s.hasher.hash(ctx, normalPassword(l.Password))
	if err != nil {
		return Account{}, false, err
	}
	const insertAccount = `-- name: account.insert
INSERT INTO account (id, email, name, password_hash) VALUES ($1, $2, $3, $4)
ON CONFLICT (email) DO NOTHING
RETURNING id, email, name, created_at`
	row := s.pool.QueryRow(ctx, insertAccount, uuid.Must(uuid.NewV7()), l.Email, name, hash)
	switch err := row.Scan(&a.ID, &a.Email, &a.Name, &a.CreatedAt); {
	case errors.Is(err, pgx.ErrNoRows):
		return Account{}, false, nil
	case err != nil:
		return Account{}, false, err
	}
	a.CreatedAt, a.PasswordID = a.CreatedAt.UTC(), passwordID(hash)
	return a, true, nil
}

// match returns the account that has the password. It compares every form of
// the password with every form of the address, whether there is an account or
// not: a refusal takes the same time for all addresses.
func (s *Store) match(ctx context.Context, stored map[string]credential, l Login) (Account, error) {
	for _, email := range l.emails() {
		c, known := stored[email]
		if !known {
			c.Hash = s.hasher.decoy
		}
		for _, password := range passwordForms(l.Password) {
			matches, err := s.hasher.verify(ctx, c.Hash, password)
			if err != nil {
				return Account{}, err
			}
			if known && matches {
				if outdated(c.Hash) || password != normalPassword(password) {
					c.PasswordID = s.rehash(ctx, c, password)
				}
				return c.Account, nil
			}
		}
	}
	return Account{}, ErrCredentials
}

// rehash stores a password's hash by the parameters and in the form of today,
// and returns what is stored then. The log-in does not depend on it: it takes
// half of the time that is left at the most, and where it fails, the next
// log-in tries again.
func (s *Store) rehash(ctx context.Context, c credential, password string) PasswordID {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	id, err := s.replace(ctx, c, password)
	if errors.Is(err, errReplaced) { // by another log-in at the same time, or by a change of the password
		return s.stored(ctx, c, password)
	}
	if err != nil {
		return c.PasswordID
	}
	return id
}

// stored returns what is stored by now where that is the same password, and what
// the log-in has seen otherwise: it is over then.
func (s *Store) stored(ctx context.Context, c credential, password string) PasswordID {
	const selectHash = `-- name: account.hash
SELECT password_hash FROM account WHERE id = $1`
	var hash string
	if err := s.pool.QueryRow(ctx, selectHash, c.ID).Scan(&hash); err != nil {
		return c.PasswordID
	}
	if ok, err := s.hasher.verify(ctx, hash, normalPassword(password)); err != nil || !ok {
		return c.PasswordID
	}
	return passwordID(hash)
}

// errReplaced says that the stored password is another one by now.
var errReplaced = errors.New("the stored password has changed meanwhile")

// replace stores another hash instead of a credential's.
func (s *Store) replace(ctx context.Context, c credential, password string) (PasswordID, error) {
	hash, err := s.hasher.hash(ctx, normalPassword(password))
	if err != nil {
		return PasswordID{}, err
	}
	const updateHash = `-- name: account.replace_hash
UPDATE account SET password_hash = $3 WHERE id = $1 AND password_hash = $2`
	tag, err := s.pool.Exec(ctx, updateHash, c.ID, c.Hash, hash)
	if err != nil {
		return PasswordID{}, err
	}
	if tag.RowsAffected() == 0 {
		return PasswordID{}, errReplaced
	}
	return passwordID(hash), nil
}

// ChangePassword gives an account another password and returns it. It fails
// with [ErrCredentials] where the current one is another, with [ErrNotFound] or
// with [ErrBusy]. The caller has checked the new one ([CheckPassword]), and
// ends the sessions that began before.
func (s *Store) ChangePassword(ctx context.Context, id uuid.UUID, current, password string) (Account, error) {
	c, err := s.get(ctx, id)
	if err != nil {
		return Account{}, err
	}
	for _, form := range passwordForms(current) {
		matches, err := s.hasher.verify(ctx, c.Hash, form)
		if err != nil {
			return Account{}, fmt.Errorf("change password: %w", err)
		}
		if !matches {
			continue
		}
		c.PasswordID, err = s.replace(ctx, c, password)
		if errors.Is(err, errReplaced) { // by somebody who was faster, or a log-in that has hashed it anew
			return Account{}, ErrCredentials
		}
		if err != nil {
			return Account{}, fmt.Errorf("change password: %w", err)
		}
		return c.Account, nil
	}
	return Account{}, ErrCredentials
}

// Get returns an account by its id, or [ErrNotFound].
func (s *Store) Get(ctx context.Context, id uuid.UUID) (Account, error) {
	c, err := s.get(ctx, id)
	return c.Account, err
}

func (s *Store) get(ctx context.Context, id uuid.UUID) (c credential, err error) {
	const selectByID = `-- name: account.by_id
SELECT id, email, name, created_at, password_hash FROM account WHERE id = $1`
	err = s.pool.QueryRow(ctx, selectByID, id).Scan(&c.ID, &c.Email, &c.Name, &c.CreatedAt, &c.Hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return credential{}, ErrNotFound
	}
	if err != nil {
		return credential{}, fmt.Errorf("read account: %w", err)
	}
	c.CreatedAt, c.PasswordID = c.CreatedAt.UTC(), passwordID(c.Hash)
	return c, nil
}
