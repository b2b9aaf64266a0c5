package account_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/account"
	"doorbuster/app/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const ann = "ann@example.com"

func open(t *testing.T) (*account.Store, *pgxpool.Pool) {
	t.Helper()
	pool := dbtest.Pool(t)
	return account.NewStore(pool, account.Config{Share: 100}), pool
}

func register(t *testing.T, store *account.Store, email, password string) account.Account {
	t.Helper()
	a, err := store.Register(t.Context(), email, "Ann", password)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// storedHash returns what the database has of a password.
func storedHash(t *testing.T, pool *pgxpool.Pool, email string) (hash string) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT password_hash FROM account WHERE email = $1", email).Scan(&hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestRegisterAndLogIn(t *testing.T) { // E4
	t.Parallel()
	store, _ := open(t)
	registered := register(t, store, ann, "correct horse")
	other := register(t, store, "bob@example.com", "correct horse")
	if registered.Email != ann || registered.Name != "Ann" || registered.ID == uuid.Nil || registered.ID == other.ID {
		t.Errorf("registered: got %v and %v, want what was given and an id of one's own", registered, other)
	}
	if registered.CreatedAt.IsZero() || registered.CreatedAt.Location().String() != "UTC" {
		t.Errorf("registered: got the time %v, want the database's in UTC", registered.CreatedAt)
	}

	loggedIn, err := store.Authenticate(t.Context(), ann, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(registered, loggedIn); diff != "" {
		t.Errorf("logged in (-registered +logged in):\n%s", diff)
	}
	got, err := store.Get(t.Context(), registered.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(registered, got); diff != "" {
		t.Errorf("by id (-registered +got):\n%s", diff)
	}
	if got, err := store.Get(t.Context(), uuid.New()); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("by an unknown id: got %v, %v, want ErrNotFound", got, err)
	}
}

// E4: the answer does not tell which addresses have accounts. That both cost the same is tested beside the hasher.
func TestWrongPasswordAndUnknownAddressLookAlike(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	register(t, store, ann, "correct horse")
	for _, c := range []struct{ name, email, password string }{
		{"wrong password", ann, "correct house"},
		{"no password", ann, ""},
		{"another case", ann, "Correct horse"},
		{"a part of it", ann, "correct"},
		{"unknown address", "bob@example.com", "correct horse"},
		{"address in another case", "Ann@example.com", "correct horse"}, // the edge lowers it
		{"nothing", "", ""},
	} {
		got, err := store.Authenticate(t.Context(), c.email, c.password)
		if err != account.ErrCredentials || got != (account.Account{}) { //nolint:errorlint // the very same error, with nothing around it
			t.Errorf("%s: got %v, %v, want no account and exactly ErrCredentials", c.name, got, err)
		}
	}
}

// E4: every byte of a password counts, however many there are.
func TestPasswordsAreTakenWhole(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	for i, password := range []string{
		strings.Repeat("x", 72) + "y", // bcrypt would stop here
		"null\x00byte",
		"pässwörd 🔑",
		" spaces ",
	} {
		email := fmt.Sprintf("%d@example.com", i)
		register(t, store, email, password)
		if _, err := store.Authenticate(t.Context(), email, password); err != nil {
			t.Errorf("%q: got %v, want to be let in", password, err)
		}
		if _, err := store.Authenticate(t.Context(), email, password[:len(password)-1]); !errors.Is(err, account.ErrCredentials) {
			t.Errorf("%q without its last byte: got %v, want ErrCredentials", password, err)
		}
	}
}

// E4: the OWASP Password Storage Cheat Sheet's minimum for argon2id: 19 MiB, two iterations, one lane; and a salt for each.
func TestPasswordsAreStoredAsHashes(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	register(t, store, ann, "correct horse")
	register(t, store, "bob@example.com", "correct horse")
	first, second := storedHash(t, pool, ann), storedHash(t, pool, "bob@example.com")
	phc := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
	for _, hash := range []string{first, second} {
		if !phc.MatchString(hash) {
			t.Errorf("got %s, want to match %s", hash, phc)
		}
	}
	firstParts, secondParts := strings.Split(first, "$"), strings.Split(second, "$")
	if firstParts[4] == secondParts[4] || firstParts[5] == secondParts[5] {
		t.Errorf("the same password twice: got %s and %s, want another salt and hash", first, second)
	}
}

func TestAddressIsTakenOnce(t *testing.T) { // E4
	t.Parallel()
	store, _ := open(t)
	first := register(t, store, ann, "correct horse")
	if got, err := store.Register(t.Context(), ann, "Eve", "battery staple"); !errors.Is(err, account.ErrEmailTaken) {
		t.Errorf("the second: got %v, %v, want ErrEmailTaken", got, err)
	}
	if got, err := store.Authenticate(t.Context(), ann, "correct horse"); err != nil || got != first {
		t.Errorf("the first, later: got %v, %v, want %v", got, err, first)
	}
	if _, err := store.Authenticate(t.Context(), ann, "battery staple"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("with the second's password: got %v, want ErrCredentials", err)
	}
	if _, err := store.Register(t.Context(), "Ann@example.com", "Ann", "x"); err == nil || errors.Is(err, account.ErrEmailTaken) {
		t.Errorf("capital letters, which the edge has to lower: got %v, want the table to refuse them", err)
	}
}

// E4: of many who register an address at once, one gets it, and it is that one's password that counts.
func TestAddressIsTakenOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	const crowd = 10
	var accounts [crowd]account.Account
	var outcomes [crowd]error
	var wg sync.WaitGroup
	password := func(i int) string { return fmt.Sprintf("password %d", i) }
	for i := range crowd {
		wg.Go(func() { accounts[i], outcomes[i] = store.Register(t.Context(), ann, "Ann", password(i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range outcomes {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("got two winners, %d and %d, want one", winner, i)
		case !errors.Is(err, account.ErrEmailTaken):
			t.Errorf("%d: got %v, want ErrEmailTaken", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("got no winner, want one")
	}
	for i := range crowd {
		got, err := store.Authenticate(t.Context(), ann, password(i))
		if i == winner && (err != nil || got != accounts[i]) {
			t.Errorf("the winner's password: got %v, %v, want %v", got, err, accounts[i])
		}
		if i != winner && !errors.Is(err, account.ErrCredentials) {
			t.Errorf("the password of %d: got %v, want ErrCredentials", i, err)
		}
	}
}

// E4: a row that somebody tampered with lets nobody in, and is no wrong password either: it has to be seen.
func TestTamperedHashIsAnError(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	register(t, store, ann, "correct horse")
	if _, err := pool.Exec(t.Context(), "UPDATE account SET password_hash = replace(password_hash, 'm=19456', 'm=99999999')"); err != nil {
		t.Fatal(err)
	}
	got, err := store.Authenticate(t.Context(), ann, "correct horse")
	if err == nil || errors.Is(err, account.ErrCredentials) || errors.Is(err, account.ErrBusy) || got != (account.Account{}) {
		t.Errorf("got %v, %v, want an error of its own", got, err)
	}
}
