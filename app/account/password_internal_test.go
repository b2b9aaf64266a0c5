package account

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/argon2"

	"doorbuster/app/dbtest"
)

// These tests are inside the package because they hold a hash in the middle of its work: nothing else shows a bound
// without looking at a clock.

// E4: so many hashes at work at once and so many waiting, and not one more.
func TestHashesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hashes, queue = 2, 3
		h := newHasher(Config{Hashes: hashes, Queue: queue})
		working, most, finished := 0, 0, 0 // in a bubble, between two waits, one goroutine looks at these
		release, lock := make(chan struct{}), make(chan struct{}, 1)
		count := func(to *int, by int) {
			lock <- struct{}{}
			*to += by
			most = max(most, working)
			<-lock
		}
		start := func(ctx context.Context) <-chan error {
			outcome := make(chan error, 1)
			go func() {
				outcome <- h.run(ctx, func() {
					count(&working, 1)
					<-release
					count(&working, -1)
					count(&finished, 1)
				})
			}()
			return outcome
		}
		want := func(when string, wantWorking, wantFinished int) {
			t.Helper()
			synctest.Wait()
			if working != wantWorking || finished != wantFinished {
				t.Errorf("%s: got %d hashes at work and %d finished, want %d and %d", when, working, finished, wantWorking, wantFinished)
			}
		}

		impatient, lose := context.WithCancelCause(t.Context())
		var outcomes []<-chan error
		for range hashes + queue - 1 {
			outcomes = append(outcomes, start(t.Context()))
		}
		synctest.Wait()
		last := start(impatient)
		want("with a full queue", hashes, 0)
		if err := <-start(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: got %v, want ErrBusy at once", err)
		}

		// Who waits no longer makes room for another.
		patience := errors.New("out of patience")
		lose(patience)
		if err := <-last; !errors.Is(err, ErrBusy) || !errors.Is(err, patience) {
			t.Errorf("whose context ended: got %v, want ErrBusy with the cause", err)
		}
		outcomes = append(outcomes, start(t.Context()))
		want("after one left the queue", hashes, 0)

		release <- struct{}{}
		want("after one finished", hashes, 1)
		close(release)
		want("after all finished", 0, hashes+queue)
		if most != hashes {
			t.Errorf("at once: got %d hashes at most, want %d", most, hashes)
		}
		for _, outcome := range outcomes {
			if err := <-outcome; err != nil {
				t.Errorf("who had a place: got %v, want its turn", err)
			}
		}
	})
}

// E4: an unknown address is hashed for like a known one. Where nobody may hash, both are turned away; and what an unknown
// address is compared with costs as much as any hash made today.
func TestUnknownAddressCostsAsMuch(t *testing.T) {
	t.Parallel()
	store := NewStore(dbtest.Pool(t), Config{Hashes: 1, Queue: 1})
	if _, err := store.Register(t.Context(), "ann@example.com", "Ann", "correct horse"); err != nil {
		t.Fatal(err)
	}
	for range cap(store.hasher.present) {
		store.hasher.present <- struct{}{}
	}
	logIn := func(email string, want error) {
		t.Helper()
		if _, err := store.Authenticate(t.Context(), email, "wrong"); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", email, err, want)
		}
	}
	logIn("ann@example.com", ErrBusy)
	logIn("nobody@example.com", ErrBusy)
	if _, err := store.Register(t.Context(), "bob@example.com", "Bob", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("register: got %v, want ErrBusy", err)
	}
	for range cap(store.hasher.present) {
		<-store.hasher.present
	}
	logIn("ann@example.com", ErrCredentials)
	logIn("nobody@example.com", ErrCredentials)

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

// phc returns a password's hash with the given parameters.
func phc(password string, memory, rounds uint32, lanes uint8) string {
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, rounds, lanes, b64(salt),
		b64(argon2.IDKey([]byte(password), salt, rounds, memory, lanes, hashBytes)))
}

// E4: a hash made with yesterday's parameters, or tomorrow's, still lets its owner in.
func TestStoredHashNamesItsParameters(t *testing.T) {
	t.Parallel()
	h := newHasher(Config{})
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
	h := newHasher(Config{})
	for name, stored := range malformed {
		matches, err := h.verify(t.Context(), stored, "secret")
		if matches || err == nil || errors.Is(err, ErrBusy) {
			t.Errorf("%s: got %v, %v, want an error", name, matches, err)
		} else if strings.Contains(err.Error(), "%!") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got the message %q, want one for people, without the password", name, err)
		}
	}
}

// FuzzVerify: E4, whatever a row holds, verifying neither panics nor lets in somebody who does not know the password.
func FuzzVerify(f *testing.F) {
	good := phc("secret", 64, 1, 1)
	f.Add(good)
	for _, stored := range malformed {
		f.Add(stored)
	}
	f.Add(phc("secret", 8, 1, 255))
	idle, busy := newHasher(Config{}), newHasher(Config{})
	for range cap(busy.present) {
		busy.present <- struct{}{}
	}
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
