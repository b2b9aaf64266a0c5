package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/limit"
)

// costs are what operations take of the quotas of requests. One unit is about what
// a read of a cart costs the shop.
var costs = map[string]int64{
	"get-cart": 1, "who-am-i": 1, "get-order": 1, "list-orders": 2,
	"add-cart-item": 2, "set-cart-item": 2, "remove-cart-item": 2, "set-discount": 2, "remove-discount": 2, "clear-cart": 2,
	logOutOperation: 2, logOutEverywhereOperation: 2, checkoutOperation: 5,
	logInOperation: 10, registerOperation: 10, passwordOperation: 10,
}

// Operations that are limited for what they are.
const (
	logInOperation    = "log-in"
	registerOperation = "register"
	discountOperation = "set-discount"
	logOutOperation   = "log-out"
	passwordOperation = "change-password"

	logOutEverywhereOperation = "log-out-everywhere"
)

// makesGuest are the operations that give a visitor a session and a cart.
var makesGuest = map[string]bool{"add-cart-item": true, "set-cart-item": true}

// limits applies the quotas of [Tunables] to requests.
type limits struct {
	tunables *Tunables
	limiter  *limit.Limiter
	proxies  *trustedProxies
	refused  func(id quotaID) // counts
}

// openLimits returns the limits on connections of their own: a crowd that waits for
// its sessions must not make a decision wait.
func openLimits(cfg Config, client *redis.Client) (*redis.Client, *limits, error) {
	proxies, err := parseTrustedProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, nil, err
	}
	options := *client.Options()
	options.MaxRetries, options.PoolSize = -1, 4 // one call at a time, and a probe
	own := redis.NewClient(&options)
	return own, &limits{
		tunables: cfg.Tunables, proxies: proxies, refused: func(quotaID) {},
		limiter: limit.New(own, limit.Config{Workers: cfg.Workers, Timeout: cfg.LimitTimeout, Log: cfg.Log}),
	}, nil
}

// subject is whom a request counts for.
type subject struct {
	address string // "" where it is not the customer's
	client  string // "" as well
}

// subjectOf tells customers apart. Behind a proxy that nobody has named it can't, and
// then it limits no address: that would be a limit for all customers together.
func (l *limits) subjectOf(r *http.Request) subject {
	if l.proxies.unnamed(r) {
		return subject{}
	}
	address := addressSubject(l.proxies.client(r))
	return subject{address, clientSubject(address, r.UserAgent())}
}

// A charge is one of a quota of the shop's.
type charge struct {
	id     quotaID
	charge limit.Charge
}

// charges collects what one decision takes.
type charges struct {
	limits *limits
	all    []charge
}

func (l *limits) charges() *charges { return &charges{limits: l, all: make([]charge, 0, 6)} }

// add makes a charge of a class by one of package limit's.
func (c *charges) add(class, kind, subject string, of func(key string, q limit.Quota) limit.Charge) {
	if subject == "" { // it is not known
		return
	}
	id := quotaID{class, kind}
	quota := c.limits.tunables.quota(id)
	ch := of(limit.Key(quota.name, subject), quota.Quota)
	ch.Floor = c.limits.tunables.floor(class)
	c.all = append(c.all, charge{id, ch})
}

func take(units int64) func(string, limit.Quota) limit.Charge {
	return func(key string, q limit.Quota) limit.Charge { return limit.Take(key, q, units) }
}

func book(key string, q limit.Quota) limit.Charge     { return limit.Book(key, q, 1) }
func giveBack(key string, q limit.Quota) limit.Charge { return limit.GiveBack(key, q, 1) }

// flat are the charges as package limit takes them.
func (c *charges) flat() []limit.Charge {
	flat := make([]limit.Charge, len(c.all))
	for i, ch := range c.all {
		flat[i] = ch.charge
	}
	return flat
}

// decide makes all charges, or fails with a *[Problem] and makes none. If one of the
// classes that a client should know of has decided, its status goes into the header.
func (c *charges) decide(header http.Header, classes ...string) error {
	if len(c.all) == 0 {
		return nil
	}
	v := c.limits.limiter.Decide(c.flat()...)
	if v.Allowed {
		if v.Charge >= 0 && slices.Contains(classes, c.all[v.Charge].id.class) {
			maps.Copy(header, rateLimitHeader(c.all[v.Charge].id.class, c.all[v.Charge].charge.Quota, v.Remaining, 0))
		}
		return nil
	}
	decided := c.all[v.Charge]
	c.limits.refused(decided.id)
	return tooMany(decided.id.class, decided.charge.Quota, v)
}

// refusals say what there was too much of.
var refusals = map[string]string{
	classRequests: "Too many requests came from here.",
	classGuests:   "Too many new visitors came from here.",
	classLogin:    "Too many attempts to log in.",
	classRegister: "Too many accounts were made from here.",
	classDiscount: "Too many codes were tried that don't exist.",
	classDeclined: "Too many payments were declined.",
}

// tooMany is the problem of somebody who asks too often (RFC 6585, section 4).
func tooMany(class string, q limit.Quota, v limit.Verdict) *Problem {
	wait := v.Wait + rand.N(time.Second) // those who share a limit don't come back as one
	seconds := int64((wait + time.Second - 1) / time.Second)
	p := problem("too-many-requests",
		fmt.Sprintf("%s Try again in %d s.", refusals[class], seconds))
	p.retryAfter = time.Duration(seconds) * time.Second
	p.header = rateLimitHeader(class, q, v.Remaining, seconds)
	return p
}

// rateLimitHeader returns the fields of draft-ietf-httpapi-ratelimit-headers-11. The
// quota is that of the key which decides, under the name of its class: whose key it
// is, is none of a client's business.
func rateLimitHeader(class string, q limit.Quota, remaining, seconds int64) http.Header {
	h := http.Header{}
	h["Ratelimit-Policy"] = []string{fmt.Sprintf("%q;q=%d;w=%d", class, q.Units, int64(q.Window/time.Second))}
	state := fmt.Sprintf("%q;r=%d", class, max(0, remaining))
	if seconds > 0 {
		state += ";t=" + strconv.FormatInt(seconds, 10)
	}
	h["Ratelimit"] = []string{state}
	return h
}

// limitOperation is the middleware of an operation: it takes what the operation costs
// before the input is read. An account is limited as itself, wherever it is used from.
// A guest, and a visitor of whom nothing is known, count for their address as well.
func (a *App) limitOperation(id string) func(huma.Context, func(huma.Context)) {
	cost := max(1, costs[id])
	return func(ctx huma.Context, next func(huma.Context)) {
		s := sessionOf(ctx.Context())
		c := a.limits.charges()
		owner, known := s.owner()
		_, err := s.account()
		switch {
		case err == nil:
			c.add(classRequests, kindAccount, owner.String(), take(cost))
		case known:
			c.add(classRequests, kindSession, owner.String(), take(cost))
			c.add(classRequests, kindAddress, s.subject.address, take(cost))
		default:
			c.add(classRequests, kindClient, s.subject.client, take(cost))
			c.add(classRequests, kindAddress, s.subject.address, take(cost))
		}
		makes := makesGuest[id] && !known
		if makes {
			c.addStranger(classGuests, s.subject, take(1))
		}
		var classes []string
		switch id {
		case checkoutOperation:
			c.addOwner(classDeclined, s, limit.Look)
		case discountOperation:
			classes = []string{classDiscount}
			c.addOwner(classDiscount, s, take(1))
		}
		if err := c.decide(s.header, classes...); err != nil {
			r, w := humachi.Unwrap(ctx)
			a.writeProblem(w, r, err)
			return
		}
		if makes {
			defer func() { a.guestNotMade(s, ctx.Status()) }()
		}
		next(ctx)
	}
}

// guestNotMade gives back what a new guest has cost where there is none through our
// own fault: the answer's status says so, or there is none since the handler has
// panicked. What was wrong with the request stays charged.
func (a *App) guestNotMade(s *session, status int) {
	if s.stored || status != 0 && status < http.StatusInternalServerError {
		return
	}
	c := a.limits.charges()
	c.addStranger(classGuests, s.subject, giveBack)
	c.settle()
}

// addStranger charges a client and its address.
func (c *charges) addStranger(class string, s subject, of func(string, limit.Quota) limit.Charge) {
	c.add(class, kindClient, s.client, of)
	c.add(class, kindAddress, s.address, of)
}

// addOwner charges the account, or the guest and where it comes from.
func (c *charges) addOwner(class string, s *session, of func(string, limit.Quota) limit.Charge) {
	if id, err := s.account(); err == nil {
		c.add(class, kindAccount, id.String(), of)
		return
	}
	if id, ok := s.owner(); ok {
		c.add(class, kindSession, id.String(), of)
	}
	c.addStranger(class, s.subject, of)
}

// settle makes charges that nothing refuses.
func (c *charges) settle() {
	c.decide(nil) //nolint:errcheck // see above
}

// paymentDeclined counts a declined payment, or one that the limit of an
// address refuses.
func (a *App) paymentDeclined(ctx context.Context) {
	c := a.limits.charges()
	c.addOwner(classDeclined, sessionOf(ctx), book)
	c.settle() //nolint:contextcheck // one call of Redis decides for many requests
}

// noWrongGuess gives back what a try of a code has cost that was right, or that
// we could not judge.
func (a *App) noWrongGuess(ctx context.Context) {
	c := a.limits.charges()
	c.addOwner(classDiscount, sessionOf(ctx), giveBack)
	c.settle() //nolint:contextcheck // one call of Redis decides for many requests
}

// An attempt to log in or to register is charged before the password is looked at.
// Only wrong passwords and new accounts stay charged: honest customers give back
// what they took, and so does everybody to whom the shop could give no answer.
//
// Anybody can try passwords for an address, so that address has a limit, and with it
// anybody could lock its owner out. A browser in which the same customer has logged in
// before has a limit of its own instead (OWASP's device cookies).
type attempt struct {
	limits  *limits
	caller  account.Caller
	subject subject
	guess   func(c *charges, of func(string, limit.Quota) limit.Charge) // of a password
	makes   bool                                                        // an account
}

func (a *App) beginLogIn(ctx context.Context, email string) (*attempt, error) {
	t := a.newAttempt(sessionOf(ctx), emailSubject(email))
	return t, t.begin(sessionOf(ctx).header) //nolint:contextcheck // one call of Redis decides for many requests
}

// beginRegistration begins a registration, which is a log-in where there is an
// account: it is no cheaper way to find that out.
func (a *App) beginRegistration(ctx context.Context, email string) (*attempt, error) {
	t := a.newAttempt(sessionOf(ctx), emailSubject(email))
	t.makes = true
	return t, t.begin(sessionOf(ctx).header) //nolint:contextcheck // one call of Redis decides for many requests
}

// beginPasswordChange begins a guess of the password of whoever is logged in. The
// address is the account's; what limits it is how the customer has logged in.
func (a *App) beginPasswordChange(ctx context.Context, email string) (*attempt, error) {
	s := sessionOf(ctx)
	t := a.newAttempt(s, cmp.Or(s.customer(), emailSubject(email)))
	return t, t.begin(s.header) //nolint:contextcheck // one call of Redis decides for many requests
}

// newAttempt is one for a customer, by the hashed e-mail address.
func (a *App) newAttempt(s *session, customer string) *attempt {
	t := &attempt{limits: a.limits, subject: s.subject, caller: account.Caller{From: s.subject.address}}
	if browser, ok := s.browserOf(customer); ok {
		t.caller.Known, t.caller.Account = true, customer
		t.guess = func(c *charges, of func(string, limit.Quota) limit.Charge) {
			c.add(classLogin, kindBrowser, browser, of)
		}
	} else {
		t.guess = func(c *charges, of func(string, limit.Quota) limit.Charge) {
			c.add(classLogin, kindEmail, customer, of)
			c.addStranger(classLogin, t.subject, of)
		}
	}
	return t
}

// begin charges the attempt, or refuses it.
func (t *attempt) begin(header http.Header) error {
	c := t.limits.charges()
	t.guess(c, take(1))
	if t.makes {
		c.addStranger(classRegister, t.subject, take(1))
	}
	return c.decide(header, classLogin, classRegister)
}

// end gives back what the attempt was not: the guess unless the password was wrong,
// and the account unless one was made, or somebody has asked in vain.
func (t *attempt) end(made bool, err error) {
	wrong := errors.Is(err, account.ErrCredentials)
	c := t.limits.charges()
	if !wrong {
		t.guess(c, giveBack)
	}
	if t.makes && !made && !wrong {
		c.addStranger(classRegister, t.subject, giveBack)
	}
	c.settle()
}

// emailSubject names an e-mail address where it need not be read.
func emailSubject(email string) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:12])
}

// limitStrangers is a middleware that refuses those without a session as long as
// their limit is known to be used up, before anything is read or waited for.
func (a *App) limitStrangers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.limits.proxies.warn(r, a.log)
		if a.limits.limiter.Refuses() {
			if _, err := r.Cookie(a.sessions.scs.Cookie.Name); err != nil {
				if err := a.limits.knownRefusal(a.limits.subjectOf(r)); err != nil {
					a.writeProblem(w, r, err)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// knownRefusal is the problem of a stranger whose requests are refused at the
// moment. Who can't be told from others is not refused.
func (l *limits) knownRefusal(s subject) error {
	c := l.charges()
	c.addStranger(classRequests, s, take(1))
	if len(c.all) == 0 {
		return nil
	}
	v, known := l.limiter.Known(c.flat()...)
	if !known {
		return nil
	}
	l.refused(c.all[v.Charge].id)
	return tooMany(classRequests, c.all[v.Charge].charge.Quota, v)
}
