package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/checkout"
)

// sessionLifetime is how long a cookie is good for, from the moment it was given. It is absolute: an idle time-out would
// cost a write to Redis per request.
const sessionLifetime = 7 * 24 * time.Hour

// A session holds these ids and nothing else; scs is last-writer-wins, so nothing that two requests change belongs
// in it. guestKey names the owner of a guest's cart, accountKey the customer who is logged in. browserKey is "EMAIL ID": an
// id of this browser, and the e-mail address, hashed, that it has logged in with last. It outlives the logout.
const (
	guestKey   = "guest"
	accountKey = "account"
	browserKey = "browser"
)

var errNotLoggedIn = errors.New("nobody is logged in")

// sessions loads the session of a request from Redis and stores what handlers change. It stands in for scs.LoadAndSave,
// which stores after the handler, when the answer has begun: were Redis to fail then, the client would get the end of
// two answers. Here a handler stores before it answers, and a failure is an error like any other.
type sessions struct {
	scs   *scs.SessionManager
	index sessionIndex
}

func newSessions(client *redis.Client, plainHTTP bool) *sessions {
	cookie := scs.SessionCookie{
		Name:   "__Host-session", // RFC 6265bis: only over TLS, only from this host, for all paths
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, Path: "/", Persist: true,
	}
	if plainHTTP {
		cookie.Name, cookie.Secure = "session", false
	}
	// Not scs.New: it starts a goroutine for a store in memory that would be replaced here.
	m := &scs.SessionManager{
		Store:            goredisstore.NewWithPrefix(client, sessionPrefix),
		HashTokenInStore: true, // who reads Redis can't use what is there
		Lifetime:         sessionLifetime,
		Codec:            sessionCodec{},
		Cookie:           cookie,
	}
	return &sessions{m, sessionIndex{client}}
}

// session is the session of one request.
type session struct {
	manager *scs.SessionManager
	index   sessionIndex
	ctx     context.Context //nolint:containedctx // scs keeps the data there
	header  http.Header     // of the answer
	subject subject         // of limits, apart from who it is
	stored  bool            // something was
}

type sessionContextKey struct{}

// load is the middleware of every route that knows its customer. Such answers are nobody else's.
func (s *sessions) load(a *App) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Add("Vary", "Cookie")
			h.Set("Cache-Control", "private, no-store")
			token := ""
			if c, err := r.Cookie(s.scs.Cookie.Name); err == nil {
				token = c.Value
			}
			ctx, cancel := context.WithTimeoutCause(r.Context(), requestTimeout, errRequestTimeout)
			loaded, err := s.scs.Load(ctx, token)
			cancel()
			if err != nil {
				a.writeProblem(w, r, fmt.Errorf("load session: %w", err))
				return
			}
			state := &session{manager: s.scs, index: s.index, ctx: loaded, header: h, subject: a.limits.subjectOf(r)}
			// loaded ends with the time limit above; the request goes on with its own context.
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionContextKey{}, state)))
		})
	}
}

func sessionOf(ctx context.Context) *session {
	return ctx.Value(sessionContextKey{}).(*session) //nolint:forcetypeassert // a route without the middleware is a bug
}

func (s *session) id(key string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s.manager.GetString(s.ctx, key))
	return id, err == nil
}

// account returns the customer who is logged in.
func (s *session) account() (uuid.UUID, error) {
	if id, ok := s.id(accountKey); ok {
		return id, nil
	}
	return uuid.Nil, errNotLoggedIn
}

// owner returns whose cart it is: the account's, else the guest's. A visitor who never put anything into a cart owns
// none.
func (s *session) owner() (uuid.UUID, bool) {
	if id, ok := s.id(accountKey); ok {
		return id, true
	}
	return s.id(guestKey)
}

// ownerOrGuest makes a visitor a guest, who has a cart.
func (s *session) ownerOrGuest(ctx context.Context) (uuid.UUID, error) {
	if id, ok := s.owner(); ok {
		return id, nil
	}
	id := uuid.Must(uuid.NewV7())
	s.manager.Put(s.ctx, guestKey, id.String()) //nolint:contextcheck // the session's data is in it, nothing waits on it
	return id, s.save(ctx)
}

// reader returns whose orders may be seen.
func (s *session) reader() checkout.Reader {
	owner, _ := s.owner() // uuid.Nil owns nothing
	reader := checkout.Reader{Owner: owner}
	if id, ok := s.id(accountKey); ok {
		reader.Account = uuid.NullUUID{UUID: id, Valid: true}
	}
	return reader
}

// errLogInOver says that the password was changed, or that all sessions of the
// account were ended, while this one began.
var errLogInOver = errors.New("the log-in was ended while it began")

// logIn makes the session the account's, which has logged in with this address.
func (s *session) logIn(ctx context.Context, customer account.Account, email string, accounts *account.Store) error {
	if _, ok := s.browserOf(emailSubject(email)); !ok {
		s.manager.Put(s.ctx, browserKey, emailSubject(email)+" "+rand.Text()) //nolint:contextcheck // as above
	}
	return s.enter(ctx, customer, accounts)
}

// enter makes the session the account's, under a new token: whoever knew the old one
// (session fixation) has nothing. A password that was changed since it was compared
// lets nobody in: whoever changes one ends the sessions that are entered, and a
// session is entered before the password is looked at again.
func (s *session) enter(ctx context.Context, customer account.Account, accounts *account.Store) error {
	if err := s.index.remove(ctx, customer.ID, sessionKey(s.manager.Token(s.ctx))); err != nil { //nolint:contextcheck // as above
		return err
	}
	if err := s.manager.RenewToken(s.with(ctx)); err != nil {
		return fmt.Errorf("renew session: %w", err)
	}
	key := sessionKey(s.manager.Token(s.ctx)) //nolint:contextcheck // as above
	if err := s.index.add(ctx, customer.ID, key); err != nil {
		return err
	}
	now, err := accounts.Get(ctx, customer.ID)
	if err != nil {
		return err
	}
	if now.PasswordID != customer.PasswordID {
		return errLogInOver
	}
	s.manager.Remove(s.ctx, guestKey)                      //nolint:contextcheck // as above
	s.manager.Put(s.ctx, accountKey, customer.ID.String()) //nolint:contextcheck // as above
	if err := s.save(ctx); err != nil {
		return err
	}
	stays, err := s.index.has(ctx, customer.ID, key)
	if err == nil && !stays {
		err = errLogInOver
	}
	if err != nil {
		s.header.Del("Set-Cookie") // nobody gets to know the token
		return errors.Join(err, s.destroy(ctx))
	}
	return nil
}

// browserOf returns the name of this browser if it is known to the customer with an
// e-mail address, hashed.
func (s *session) browserOf(subject string) (browser string, ok bool) {
	whose, browser, _ := strings.Cut(s.manager.GetString(s.ctx, browserKey), " ")
	return browser, whose == subject
}

// customer is the hashed e-mail address that this browser has logged in with last,
// or "".
func (s *session) customer() string {
	whose, _, _ := strings.Cut(s.manager.GetString(s.ctx, browserKey), " ")
	return whose
}

// logOut ends the session. What is left under a new token is that the customer has
// logged in with this browser.
func (s *session) logOut(ctx context.Context) error {
	if id, err := s.account(); err == nil {
		key := sessionKey(s.manager.Token(s.ctx)) //nolint:contextcheck // as above
		if err := s.index.remove(ctx, id, key); err != nil {
			return err
		}
	}
	if !s.manager.Exists(s.ctx, browserKey) { //nolint:contextcheck // as above
		return s.destroy(ctx)
	}
	if err := s.manager.RenewToken(s.with(ctx)); err != nil {
		return fmt.Errorf("renew session: %w", err)
	}
	s.manager.Remove(s.ctx, guestKey)   //nolint:contextcheck // as above
	s.manager.Remove(s.ctx, accountKey) //nolint:contextcheck // as above
	return s.save(ctx)
}

// destroy ends the session and leaves nothing of it.
func (s *session) destroy(ctx context.Context) error {
	if err := s.manager.Destroy(s.with(ctx)); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	s.setCookie("", time.Time{})
	return nil
}

func (s *session) save(ctx context.Context) error {
	token, expiry, err := s.manager.Commit(s.with(ctx))
	if err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	s.stored = true
	s.setCookie(token, expiry)
	return nil
}

func (s *session) setCookie(token string, expiry time.Time) {
	s.manager.WriteSessionCookie(s.ctx, headerWriter{s.header}, token, expiry)
	s.header.Set("Cache-Control", "private, no-store") // says more than the no-cache="Set-Cookie" that scs adds
}

// with returns a context that has the session's data and ctx's deadline.
func (s *session) with(ctx context.Context) context.Context { return dataContext{ctx, s.ctx} }

type dataContext struct {
	context.Context
	data context.Context //nolint:containedctx // see with
}

func (c dataContext) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.data.Value(key)
}

// headerWriter is as much of a ResponseWriter as setting a cookie takes.
type headerWriter struct{ header http.Header }

func (w headerWriter) Header() http.Header       { return w.header }
func (headerWriter) Write(b []byte) (int, error) { return len(b), nil }
func (headerWriter) WriteHeader(int)             {}

// sessionCodec stores a session as a little JSON. The default, gob, sends the description of its types along with every
// value and takes a compiler to read it.
type sessionCodec struct{}

type storedSession struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

func (sessionCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	stored := storedSession{deadline, make(map[string]string, len(values))}
	for k, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("session value %s is a %T, not a string", k, v)
		}
		stored.Values[k] = text
	}
	return json.Marshal(stored)
}

func (sessionCodec) Decode(raw []byte) (time.Time, map[string]any, error) {
	var stored storedSession
	if err := json.Unmarshal(raw, &stored); err != nil {
		return time.Time{}, nil, fmt.Errorf("decode session: %w", err)
	}
	values := make(map[string]any, len(stored.Values))
	for k, v := range stored.Values {
		values[k] = v
	}
	return stored.Deadline, values, nil
}
