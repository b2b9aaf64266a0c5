package app

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/dbtest"
)

func newIndex(t *testing.T) sessionIndex {
	t.Helper()
	options, err := redis.ParseURL(dbtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return sessionIndex{client}
}

// store stands in for the commit of a session.
func (x sessionIndex) store(ctx context.Context, key string) error {
	return x.client.Set(ctx, key, "a session", time.Minute).Err()
}

// An account is logged in in so many browsers and not in more: the oldest
// log-in ends.
func TestSessionsOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	x, owner, ctx := newIndex(t), uuid.New(), t.Context()
	var keys []string
	for i := range maxSessions + 3 {
		key := sessionKey(owner.String() + strconv.Itoa(i))
		keys = append(keys, key)
		if err := x.add(ctx, owner, key); err != nil {
			t.Fatal(err)
		}
		if err := x.store(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	for i, key := range keys {
		n, err := x.client.Exists(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		entered, err := x.has(ctx, owner, key)
		if want := i >= 3; err != nil || n == 1 != want || entered != want {
			t.Errorf("session %d: there: %v, entered: %v, %v; want %v", i, n == 1, entered, err, want)
		}
	}
	if ttl := x.client.TTL(ctx, indexPrefix+owner.String()).Val(); ttl <= 0 || ttl > sessionLifetime {
		t.Errorf("the index stays for %v, want %v at most", ttl, sessionLifetime)
	}
}

// A log-in that falls together with the end of all sessions is ended, or has
// come after it, or ends itself: what has looked and found itself entered, and
// was there before all were ended, is gone.
func TestLogInsDuringTheEndOfAll(t *testing.T) {
	t.Parallel()
	x, ctx := newIndex(t), t.Context()
	for range 30 {
		owner := uuid.New()
		var wg sync.WaitGroup
		entered := make([]string, 8)
		stays := make([]bool, 8)
		for i := range entered {
			entered[i] = sessionKey(owner.String() + strconv.Itoa(i))
			wg.Go(func() {
				err := x.add(ctx, owner, entered[i])
				if err == nil {
					err = x.store(ctx, entered[i])
				}
				if err == nil {
					stays[i], err = x.has(ctx, owner, entered[i])
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := x.endAll(ctx, owner); err != nil {
			t.Error(err)
		}
		wg.Wait()
		listed, err := x.client.ZRange(ctx, indexPrefix+owner.String(), 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range entered {
			there := x.client.Exists(ctx, key).Val() == 1
			if stays[i] && there && !slices.Contains(listed, key) {
				t.Error("a session lives on that nobody could end")
			}
		}
		if err := x.endAll(ctx, owner); err != nil {
			t.Error(err)
		}
		for i, key := range entered {
			if stays[i] && x.client.Exists(ctx, key).Val() == 1 {
				t.Error("a session has outlived the end of all")
			}
		}
	}
}

// A password that is changed after it was compared, and before the session is
// entered, lets nobody in: the change has not seen the session.
func TestLogInWithAPasswordThatHasChanged(t *testing.T) {
	t.Parallel()
	x, ctx, pool := newIndex(t), t.Context(), dbtest.Pool(t)
	accounts := account.NewStore(pool, account.Config{Share: 100})
	email := uuid.NewString() + "@example.com"
	customer, _, err := accounts.Register(ctx, account.Login{Email: email, Password: "correct horse"}, "Ann")
	if err != nil {
		t.Fatal(err)
	}
	newSession := func() *session {
		manager := newSessions(x.client, true)
		data, err := manager.scs.Load(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return &session{manager: manager.scs, index: x, ctx: data, header: http.Header{}}
	}
	s := newSession()
	if err := s.logIn(ctx, customer, email, accounts); err != nil || s.header.Get("Set-Cookie") == "" {
		t.Fatalf("got %v and the cookie %q, want to be let in", err, s.header.Get("Set-Cookie"))
	}
	if _, err := pool.Exec(ctx, "UPDATE account SET password_hash = password_hash || 'x'"); err != nil {
		t.Fatal(err)
	}
	s = newSession()
	if err := s.logIn(ctx, customer, email, accounts); !errors.Is(err, errLogInOver) {
		t.Errorf("got %v, want %v", err, errLogInOver)
	}
	if c := s.header.Get("Set-Cookie"); c != "" {
		t.Errorf("got the cookie %q, want none", c)
	}
	if n := x.client.Exists(ctx, sessionKey(s.manager.Token(s.ctx))).Val(); n != 0 {
		t.Error("the session was stored")
	}
}
