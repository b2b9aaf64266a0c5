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
	a, made, err := store.Register(t.Context(), login(email, password), "Ann")
	if err != nil || !made {
		t.Fatalf("register %s: got made %v, %v", email, made, err)
	}
	return a
}

func login(email, password string) account.Login {
	return account.Login{Email: email, Password: password}
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

	loggedIn, err := store.Authenticate(t.Context(), login(ann, "correct horse"))
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

// E4: the answer does not tell which addresses have accounts. That both cost
// the same is tested beside the hasher.
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
		got, err := store.Authenticate(t.Context(), login(c.email, c.password))
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
		if _, err := store.Authenticate(t.Context(), login(email, password)); err != nil {
			t.Errorf("%q: got %v, want to be let in", password, err)
		}
		if _, err := store.Authenticate(t.Context(), login(email, password[:len(password)-1])); !errors.Is(err, account.ErrCredentials) {
			t.Errorf("%q without its last byte: got %v, want ErrCredentials", password, err)
		}
	}
}

// E4: the OWASP Password Storage Cheat Sheet's minimum for argon2id: 19 MiB,
// two iterations, one lane; and a salt for each.
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

// E4: registration is a log-in where the address has an account: with its
// password it is the account's, which stays as it is, and with another one it
// is refused as a wrong log-in is.
func TestAddressIsTakenOnce(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	first := register(t, store, ann, "correct horse")
	hash := storedHash(t, pool, ann)
	got, made, err := store.Register(t.Context(), login(ann, "battery staple"), "Eve")
	if err != account.ErrCredentials || made || got != (account.Account{}) { //nolint:errorlint // the very same error as a log-in's
		t.Errorf("with another password: got %v, %v, %v, want no account and exactly ErrCredentials", got, made, err)
	}
	if got, made, err := store.Register(t.Context(), login(ann, "correct horse"), "Eve"); err != nil || made || got != first {
		t.Errorf("again: got %v, %v, %v, want the first one, %v", got, made, err, first)
	}
	if now := storedHash(t, pool, ann); now != hash {
		t.Errorf("the hash has changed from %s to %s", hash, now)
	}
	if got, err := store.Authenticate(t.Context(), login(ann, "correct horse")); err != nil || got != first {
		t.Errorf("the first, later: got %v, %v, want %v", got, err, first)
	}
	if _, err := store.Authenticate(t.Context(), login(ann, "battery staple")); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("with the second's password: got %v, want ErrCredentials", err)
	}
	if _, _, err := store.Register(t.Context(), login("Ann@example.com", "x"), "Ann"); err == nil || errors.Is(err, account.ErrCredentials) {
		t.Errorf("capital letters, which the edge has to lower: got %v, want the table to refuse them", err)
	}
}

// A refusal hashes as often for an address with an account as for one without,
// whichever way is taken; how often is decided by what was typed alone.
func TestRefusalsHashAsOften(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	register(t, store, ann, "correct horse")
	insert(t, pool, store, "ada@b\u00fccher.example", "correct horse")
	hashes := func(f func() error) int64 {
		t.Helper()
		before := store.Hashing().Hashes
		if err := f(); !errors.Is(err, account.ErrCredentials) {
			t.Errorf("got %v, want ErrCredentials", err)
		}
		return store.Hashing().Hashes - before
	}
	for _, c := range []struct {
		name, password string
		logins         []account.Login
		want           int64
	}{
		{"plain", "wrong horse", []account.Login{{Email: ann}, {Email: "nobody@example.com"}}, 1},
		{"decomposed password", "wrong horse\u0301", []account.Login{{Email: ann}, {Email: "nobody@example.com"}}, 2},
		{"two forms of the address", "wrong horse", []account.Login{
			{Email: "ada@xn--bcher-kva.example", OldEmail: "ada@b\u00fccher.example"},
			{Email: "eve@xn--bcher-kva.example", OldEmail: "eve@b\u00fccher.example"},
			{Email: ann, OldEmail: "\u00e4nn@example.com"},
		}, 2},
	} {
		for _, l := range c.logins {
			l.Password = c.password
			if n := hashes(func() error { _, err := store.Authenticate(t.Context(), l); return err }); n != c.want {
				t.Errorf("%s, log-in of %s: got %d hashes, want %d", c.name, l.Email, n, c.want)
			}
		}
		l := c.logins[0]
		l.Password = c.password
		if n := hashes(func() error { _, _, err := store.Register(t.Context(), l, "Eve"); return err }); n != c.want {
			t.Errorf("%s, registration of %s: got %d hashes, want %d", c.name, l.Email, n, c.want)
		}
	}
	before := store.Hashing().Hashes
	register(t, store, "bob@example.com", "correct horse")
	if n := store.Hashing().Hashes - before; n != 1 {
		t.Errorf("a new account took %d hashes, want 1 as a refusal", n)
	}
}

// insert writes an account as an earlier release did, which neither composed
// the password nor the address.
func insert(t *testing.T, pool *pgxpool.Pool, store *account.Store, email, password string) {
	t.Helper()
	register(t, store, "template@example.com", "template horse")
	_, err := pool.Exec(t.Context(), "UPDATE account SET email = $1, password_hash = $2 WHERE email = 'template@example.com'",
		email, account.HashAsTyped(password))
	if err != nil {
		t.Fatal(err)
	}
}

// Accounts are found under the form of their address that an earlier release
// has stored, and where both forms have accounts, each by its password.
func TestOldFormsOfAnAddress(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	const normal, old = "ada@xn--bcher-kva.example", "ada@b\u00fccher.example"
	insert(t, pool, store, old, "correct horse")
	both := func(password string) account.Login {
		return account.Login{Email: normal, OldEmail: old, Password: password}
	}
	if a, err := store.Authenticate(t.Context(), both("correct horse")); err != nil || a.Email != old {
		t.Errorf("got %v, %v, want the account with the old form", a, err)
	}
	if a, made, err := store.Register(t.Context(), both("correct horse"), "Ada"); err != nil || made || a.Email != old {
		t.Errorf("register: got %v, %v, %v, want the account with the old form", a, made, err)
	}
	if _, made, err := store.Register(t.Context(), both("battery staple"), "Ada"); !errors.Is(err, account.ErrCredentials) || made {
		t.Errorf("register with another password: got %v, %v, want ErrCredentials", made, err)
	}
	register(t, store, normal, "battery staple") // by a release that did not look for the old form
	for password, want := range map[string]string{"battery staple": normal, "correct horse": old} {
		if a, err := store.Authenticate(t.Context(), both(password)); err != nil || a.Email != want {
			t.Errorf("%s: got %v, %v, want the account of %s", password, a, err, want)
		}
	}
}

// A password is the same however its accents are written; one that was hashed
// as it was typed is still taken, and hashed anew.
func TestPasswordsAreComposed(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	const composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
	for email, password := range map[string]string{"composed@example.com": composed, "decomposed@example.com": decomposed} {
		register(t, store, email, password)
		for _, typed := range []string{composed, decomposed} {
			if _, err := store.Authenticate(t.Context(), login(email, typed)); err != nil {
				t.Errorf("%s: %+q: got %v", email, typed, err)
			}
		}
	}
	insert(t, pool, store, ann, decomposed)
	before := storedHash(t, pool, ann)
	if _, err := store.Authenticate(t.Context(), login(ann, composed)); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("what an earlier release hashed as it was typed: got %v for its composed form", err)
	}
	if _, err := store.Authenticate(t.Context(), login(ann, decomposed)); err != nil {
		t.Errorf("as it was typed: got %v", err)
	}
	if storedHash(t, pool, ann) == before {
		t.Error("the password was not hashed anew")
	}
	for _, typed := range []string{composed, decomposed} {
		if _, err := store.Authenticate(t.Context(), login(ann, typed)); err != nil {
			t.Errorf("%+q after a log-in: got %v", typed, err)
		}
	}
	if _, err := store.Authenticate(t.Context(), login("composed@example.com", "caf\u00e9 au la\u2071t")); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("a superscript for a letter: got %v, want ErrCredentials", err)
	}
}

// Weaker hashes are replaced at the next log-in, and by no failed one; stronger
// ones stay.
func TestOldHashesAreReplaced(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	register(t, store, ann, "correct horse")
	for _, c := range []struct {
		name, hash, password string
		replaced             bool
	}{
		{"weaker", account.PHC("correct horse", 8*1024, 1), "correct horse", true},
		{"weaker, wrong password", account.PHC("correct horse", 8*1024, 1), "wrong", false},
		{"stronger", account.PHC("correct horse", 40*1024, 1), "correct horse", false},
		{"the same", account.PHC("correct horse", 19*1024, 2), "correct horse", false},
	} {
		if _, err := pool.Exec(t.Context(), "UPDATE account SET password_hash = $1", c.hash); err != nil {
			t.Fatal(err)
		}
		_, err := store.Authenticate(t.Context(), login(ann, c.password))
		if (err == nil) != (c.password == "correct horse") {
			t.Errorf("%s: got %v", c.name, err)
		}
		if now := storedHash(t, pool, ann); (now != c.hash) != c.replaced {
			t.Errorf("%s: got %s after %s, replaced: want %v", c.name, now, c.hash, c.replaced)
		}
		if _, err := store.Authenticate(t.Context(), login(ann, "correct horse")); err != nil {
			t.Errorf("%s, afterwards: got %v", c.name, err)
		}
	}
}

// Only who knows the password changes it; the account stays, and its PasswordID
// tells that the password is another one.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	first := register(t, store, ann, "correct horse")
	other := register(t, store, "bob@example.com", "correct horse")
	before := storedHash(t, pool, ann)
	if got, err := store.ChangePassword(t.Context(), first.ID, "wrong", "battery staple"); !errors.Is(err, account.ErrCredentials) || got != (account.Account{}) {
		t.Errorf("with a wrong password: got %v, %v, want ErrCredentials", got, err)
	}
	if got, err := store.ChangePassword(t.Context(), uuid.New(), "correct horse", "battery staple"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("of nobody: got %v, %v, want ErrNotFound", got, err)
	}
	if storedHash(t, pool, ann) != before {
		t.Error("the password has changed")
	}
	changed, err := store.ChangePassword(t.Context(), first.ID, "correct horse", "cafe\u0301 au lait")
	if err != nil || changed.PasswordID == first.PasswordID {
		t.Fatalf("got %v, %v, want another PasswordID than %x", changed, err, first.PasswordID)
	}
	want := first
	want.PasswordID = changed.PasswordID
	for name, get := range map[string]func() (account.Account, error){
		"changed": func() (account.Account, error) { return changed, nil },
		"by id":   func() (account.Account, error) { return store.Get(t.Context(), first.ID) },
		"logged in": func() (account.Account, error) {
			return store.Authenticate(t.Context(), login(ann, "caf\u00e9 au lait"))
		},
	} {
		if got, err := get(); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := store.Authenticate(t.Context(), login(ann, "correct horse")); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("with the password before: got %v, want ErrCredentials", err)
	}
	if got, err := store.Get(t.Context(), other.ID); err != nil || got != other {
		t.Errorf("somebody else: got %v, %v, want %v", got, err, other)
	}
}

// E4: of many who register an address at once, one gets it, and it is that
// one's password that counts.
func TestAddressIsTakenOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	const crowd = 10
	var accounts [crowd]account.Account
	var made [crowd]bool
	var outcomes [crowd]error
	var wg sync.WaitGroup
	password := func(i int) string { return fmt.Sprintf("password %d", i) }
	for i := range crowd {
		wg.Go(func() {
			accounts[i], made[i], outcomes[i] = store.Register(t.Context(), login(ann, password(i)), "Ann")
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range outcomes {
		switch {
		case err == nil && winner < 0:
			if winner = i; !made[i] {
				t.Errorf("%d: got an account that it has not made", i)
			}
		case err == nil:
			t.Errorf("got two winners, %d and %d, want one", winner, i)
		case !errors.Is(err, account.ErrCredentials):
			t.Errorf("%d: got %v, want ErrCredentials", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("got no winner, want one")
	}
	for i := range crowd {
		got, err := store.Authenticate(t.Context(), login(ann, password(i)))
		if i == winner && (err != nil || got != accounts[i]) {
			t.Errorf("the winner's password: got %v, %v, want %v", got, err, accounts[i])
		}
		if i != winner && !errors.Is(err, account.ErrCredentials) {
			t.Errorf("the password of %d: got %v, want ErrCredentials", i, err)
		}
	}
}

// E4: a row that somebody tampered with lets nobody in, and is no wrong
// password either: it has to be seen.
func TestTamperedHashIsAnError(t *testing.T) {
	t.Parallel()
	store, pool := open(t)
	register(t, store, ann, "correct horse")
	if _, err := pool.Exec(t.Context(), "UPDATE account SET password_hash = replace(password_hash, 'm=19456', 'm=99999999')"); err != nil {
		t.Fatal(err)
	}
	got, err := store.Authenticate(t.Context(), login(ann, "correct horse"))
	if err == nil || errors.Is(err, account.ErrCredentials) || errors.Is(err, account.ErrBusy) || got != (account.Account{}) {
		t.Errorf("got %v, %v, want an error of its own", got, err)
	}
}
