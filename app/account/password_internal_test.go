package account

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"doorbuster/app/dbtest"
)

// fill takes all places of a hasher with a queue of 1, until they are left.
func fill(h *hasher) (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &waiter{turn: make(chan error, 1)}
	h.busy += h.lanes
	h.unknown.add(w)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unknown.remove(w)
		h.busy -= h.lanes
	}
}

// E4: an unknown address is hashed for like a known one. Where nobody may hash,
// both are turned away, also at registration; and what an unknown address is
// compared with costs as much as any hash made today.
func TestUnknownAddressCostsAsMuch(t *testing.T) {
	t.Parallel()
	store := NewStore(dbtest.Pool(t), Config{Queue: 1, Share: 100})
	if _, _, err := store.Register(t.Context(), Login{Email: "ann@example.com", Password: "correct horse"}, "Ann"); err != nil {
		t.Fatal(err)
	}
	leave := fill(store.hasher)
	logIn := func(email string, want error) {
		t.Helper()
		if _, err := store.Authenticate(t.Context(), Login{Email: email, Password: "wrong"}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", email, err, want)
		}
	}
	logIn("ann@example.com", ErrBusy)
	logIn("nobody@example.com", ErrBusy)
	register := func(email string, want error) {
		t.Helper()
		if _, _, err := store.Register(t.Context(), Login{Email: email, Password: "wrong"}, "Bob"); !errors.Is(err, want) {
			t.Errorf("register %s: got %v, want %v", email, err, want)
		}
	}
	register("ann@example.com", ErrBusy)
	register("bob@example.com", ErrBusy)
	leave()
	logIn("ann@example.com", ErrCredentials)
	logIn("nobody@example.com", ErrCredentials)
	register("ann@example.com", ErrCredentials)

	real, err := store.hasher.hash(t.Context(), "wrong")
	if err != nil {
		t.Fatal(err)
	}
	decoy := strings.Split(store.hasher.decoy, "$")
	for i, part := range strings.Split(real, "$") {
		if isParameter := i < 4; len(decoy[i]) != len(part) || isParameter && decoy[i] != part {
			t.Errorf("decoy: got %s, want the parameters and the lengths of %s", decoy[i], part)
		}
	}
}

// E4: a hash made with yesterday's parameters, or tomorrow's, still lets its
// owner in.
func TestStoredHashNamesItsParameters(t *testing.T) {
	t.Parallel()
	h := newHasher(Config{Share: 100})
	for _, stored := range []string{
		phc("secret", memoryKiB, iterations, parallelism), phc("secret", 8, 1, 1), phc("secret", 64, 3, 4), phc("secret", 40*1024, 1, 2),
	} {
		for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
			if got, err := h.verify(t.Context(), stored, password); got != want || err != nil {
				t.Errorf("%s with %q: got %v, %v, want %v", stored, password, got, err, want)
			}
		}
	}
}

// malformed are stored hashes that are none.
var malformed = func() map[string]string {
	good := phc("secret", 64, 1, 1)
	replace := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	return map[string]string{
		"empty":               "",
		"plain text":          "secret",
		"dollars":             "$$$$$",
		"argon2i":             replace("argon2id", "argon2i"),
		"bcrypt":              "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"another version":     replace("v=19", "v=16"),
		"no version":          replace("$v=19", ""),
		"too little memory":   replace("m=64", "m=7"),
		"negative memory":     replace("m=64", "m=-64"),
		"too much memory":     replace("m=64", fmt.Sprintf("m=%d", maxMemoryKiB+1)),
		"more than an int":    replace("m=64", "m=99999999999999999999"),
		"no rounds":           replace("t=1", "t=0"),
		"too many rounds":     replace("t=1", fmt.Sprintf("t=%d", maxIterations+1)),
		"no lanes":            replace("p=1", "p=0"),
		"too many lanes":      replace("p=1", "p=256"),
		"no parameters":       replace("m=64,t=1,p=1", ""),
		"parameters as words": replace("m=64", "m=many"),
		"salt not base64":     replace("$MDEy", "$!!!!"),
		"hash not base64":     good[:len(good)-3] + "!!!",
		"hash cut short":      good[:len(good)-3],
		"no hash":             good[:strings.LastIndex(good, "$")+1],
		"one part too many":   good + "$more",
	}
}()

func TestMalformedHashesMatchNothing(t *testing.T) { // E4
	t.Parallel()
	h := newHasher(Config{Share: 100})
	for name, stored := range malformed {
		matches, err := h.verify(t.Context(), stored, "secret")
		if matches || err == nil || errors.Is(err, ErrBusy) {
			t.Errorf("%s: got %v, %v, want an error", name, matches, err)
		} else if strings.Contains(err.Error(), "%!") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got the message %q, want one for people, without the password", name, err)
		}
	}
}

// FuzzVerify: E4, whatever a row holds, verifying neither panics nor lets in
// somebody who does not know the password.
func FuzzVerify(f *testing.F) {
	good := phc("secret", 64, 1, 1)
	f.Add(good)
	for _, stored := range malformed {
		f.Add(stored)
	}
	f.Add(phc("secret", 8, 1, 255))
	idle, busy := newHasher(Config{Share: 100}), newHasher(Config{Queue: 1})
	fill(busy)
	cheap := regexp.MustCompile(`\$m=\d{1,4},t=\d,`)
	f.Fuzz(func(t *testing.T, stored string) {
		h := busy // parameters within the bounds may cost seconds, so there all but the hash is tried
		if cheap.MatchString(stored) {
			h = idle
		}
		if matches, err := h.verify(t.Context(), stored, "something else"); matches {
			t.Errorf("%q: got a match, %v, want none", stored, err)
		}
	})
}
