package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
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
	"add-cart-item": 2, "set-cart-item": 2, "remove-cart-item": 2, "set-discount": 2, "remove-discount": 2,
	logOutOperation: 2, checkoutOperation: 5, logInOperation: 10, registerOperation: 10,
}

// Operations that are limited for what they are.
const (
	logInOperation    = "log-in"
	registerOperation = "register"
	discountOperation = "set-discount"
	logOutOperation   = "log-out"
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
	from    string // where the request comes from, for fair turns
	address string // the same for limits; "" where it is not the customer's
	client  string // "" as well
}

// subjectOf tells customers apart. Behind a proxy that nobody has named it can't, and
// then it limits no address: that would be a limit for all customers together.
func (l *limits) subjectOf(r *http.Request) subject {
	address := addressSubject(l.proxies.client(r))
	if l.proxies.unnamed(r) {
		return subject{from: address}
	}
	return subject{address, address, clientSubject(address, r.UserAgent())}
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
	c.all = append(c.all, charge{id, of(limit.Key(quota.name, subject), quota.Quota)})
}

func take(units int64) func(string, limit.Quota) limit.Charge {
	return func(key string, q limit.Quota) limit.Charge { return limit.Take(key, q, units) }
}

func book(key string, q limit.Quota) limit.Charge     { return limit.Book(key, q, 1) }
func giveBack(key string, q limit.Quota) limit.Charge { return limit.GiveBack(key, q, 1) }

// decide makes all charges, or fails with a *[Problem] and makes none. The status of
// the class that a client should know of goes into the header, if there is one.
func (c *charges) decide(header http.Header, class string) error {
	if len(c.all) == 0 {
		return nil
	}
	flat := make([]limit.Charge, len(c.all))
	for i, ch := range c.all {
		flat[i] = ch.charge
	}
	v := c.limits.limiter.Decide(flat...)
	if v.Allowed {
		if header != nil && v.Charge >= 0 && c.all[v.Charge].id.class == class {
			maps.Copy(header, rateLimitHeader(class, c.all[v.Charge].charge.Quota, v.Remaining, 0))
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
		if makesGuest[id] && !known {
			c.addStranger(classGuests, s.subject, take(1))
		}
		class := ""
		switch id {
		case checkoutOperation:
			c.addOwner(classDeclined, s, limit.Look)
		case discountOperation:
			class = classDiscount
			c.addOwner(classDiscount, s, take(1))
		case registerOperation:
			class = classRegister
			c.addStranger(classRegister, s.subject, take(1))
		}
		if err := c.decide(s.header, class); err != nil {
			r, w := humachi.Unwrap(ctx)
			a.writeProblem(w, r, err)
			return
		}
		next(ctx)
	}
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
	c.decide(nil, "") //nolint:errcheck // see above
}

// paymentDeclined counts a declined payment.
func (a *App) paymentDeclined(ctx context.Context) {
	c := a.limits.charges()
	c.addOwner(classDeclined, sessionOf(ctx), book)
	c.settle() //nolint:contextcheck // one call of Redis decides for many requests
}

// rightDiscount gives back what a guess of a code has cost.
func (a *App) rightDiscount(ctx context.Context) {
	c := a.limits.charges()
	c.addOwner(classDiscount, sessionOf(ctx), giveBack)
	c.settle() //nolint:contextcheck // one call of Redis decides for many requests
}

// A logInAttempt is charged before the password is looked at. Only wrong passwords
// stay charged: honest customers give back what they took.
//
// Anybody can try passwords for an address, so that address has a limit, and with it
// anybody could lock its owner out. A browser in which the same customer has logged in
// before has a limit of its own instead (OWASP's device cookies).
type logInAttempt struct {
	limits *limits
	add    func(c *charges, of func(string, limit.Quota) limit.Charge)
	caller account.Caller
}

func (a *App) beginLogIn(ctx context.Context, email string) (*logInAttempt, error) {
	s := sessionOf(ctx)
	t := &logInAttempt{limits: a.limits}
	if browser, ok := s.browserOf(email); ok {
		t.caller = account.Caller{Known: true, From: browser}
		t.add = func(c *charges, of func(string, limit.Quota) limit.Charge) {
			c.add(classLogin, kindBrowser, browser, of)
		}
	} else {
		t.caller = account.Caller{From: s.subject.from}
		t.add = func(c *charges, of func(string, limit.Quota) limit.Charge) {
			c.add(classLogin, kindEmail, emailSubject(email), of)
			c.addStranger(classLogin, s.subject, of)
		}
	}
	c := a.limits.charges()
	t.add(c, take(1))
	return t, c.decide(s.header, classLogin) //nolint:contextcheck // one call of Redis decides for many requests
}

// end gives the attempt back unless the password was wrong.
func (t *logInAttempt) end(err error) {
	if errors.Is(err, account.ErrCredentials) {
		return
	}
	c := t.limits.charges()
	t.add(c, giveBack)
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

// knownRefusal is the problem of a stranger whose requests are refused at the moment.
func (l *limits) knownRefusal(s subject) error {
	c := l.charges()
	c.addStranger(classRequests, s, take(1))
	v, known := l.limiter.Known(c.all[0].charge, c.all[1].charge)
	if !known {
		return nil
	}
	l.refused(c.all[v.Charge].id)
	return tooMany(classRequests, c.all[v.Charge].charge.Quota, v)
}
