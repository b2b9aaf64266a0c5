package app

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"doorbuster/app/account"
	"doorbuster/app/limit"
)

// quotaID names a quota: of a class of requests, for a kind of subject.
type quotaID struct{ class, kind string }

func (id quotaID) String() string { return id.class + "-" + id.kind }

// Classes of what is limited.
const (
	classRequests = "requests" // all that knows its customer, by cost
	classGuests   = "guests"   // sessions and carts of new guests
	classLogin    = "login"    // wrong passwords
	classRegister = "register"
	classDiscount = "discount" // wrong codes
	classDeclined = "declined" // payments
)

// Kinds of subjects.
const (
	kindAddress = "address" // IPv6: the /64
	kindClient  = "client"  // an address, and the User-Agent that somebody says to have there
	kindSession = "session" // a guest
	kindAccount = "account"
	kindEmail   = "email"
	kindBrowser = "browser" // one that the same customer has logged in with before
)

// defaultQuotas are generous for people, of whom many may share an address, and tight
// where somebody guesses. A client has less than its address: who attacks with one
// program leaves something for the others behind the same address.
var defaultQuotas = map[quotaID]string{
	{classRequests, kindSession}: "600/1m",
	{classRequests, kindAccount}: "600/1m",
	{classRequests, kindClient}:  "3000/1m",
	{classRequests, kindAddress}: "6000/1m",
	{classGuests, kindClient}:    "300/1m",
	{classGuests, kindAddress}:   "600/1m",
	{classLogin, kindEmail}:      "10/15m",
	{classLogin, kindBrowser}:    "10/5m",
	{classLogin, kindClient}:     "20/1m",
	{classLogin, kindAddress}:    "60/1m",
	{classRegister, kindClient}:  "20/10m",
	{classRegister, kindAddress}: "60/10m",
	{classDiscount, kindSession}: "20/10m",
	{classDiscount, kindAccount}: "20/10m",
	{classDiscount, kindClient}:  "60/10m",
	{classDiscount, kindAddress}: "200/10m",
	{classDeclined, kindSession}: "10/10m",
	{classDeclined, kindAccount}: "10/10m",
	{classDeclined, kindClient}:  "50/10m",
	{classDeclined, kindAddress}: "200/10m",
}

const (
	quotaPrefix     = "limit-"
	shareKey        = "password-share"
	defaultPassword = 25 // percent
)

// Tunables are the settings of a worker that may change while it serves. They are
// safe for concurrent use. Make them with [NewTunables].
type Tunables struct {
	mu      sync.RWMutex
	quotas  map[quotaID]tunedQuota
	share   int
	changed []func(share int)
}

// NewTunables returns the defaults.
func NewTunables() *Tunables {
	t := &Tunables{quotas: make(map[quotaID]tunedQuota, len(defaultQuotas)), share: defaultPassword}
	for id, text := range defaultQuotas {
		quota, err := limit.ParseQuota(text)
		if err != nil { // a constant
			panic(err)
		}
		t.quotas[id] = tune(id, quota)
	}
	return t
}

// TunableKeys lists the keys of [Tunables.Set].
func TunableKeys() []string {
	keys := []string{shareKey}
	for id := range defaultQuotas {
		keys = append(keys, quotaPrefix+id.String())
	}
	slices.Sort(keys)
	return keys
}

// DefaultLimits is what [Tunables.SetLimits] reads, with all limits in it.
func DefaultLimits() string {
	var all []string
	for id, quota := range defaultQuotas {
		all = append(all, id.String()+"="+quota)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// ErrNoTunable says that there is no such setting.
var ErrNoTunable = errors.New("no such setting")

// Set changes a setting: limit-NAME to a quota such as 30/1m or off, or
// password-share to a number of percent. It fails with [ErrNoTunable], or says what
// the value may be.
func (t *Tunables) Set(key, value string) error {
	if key == shareKey {
		percent, err := strconv.Atoi(strings.TrimSuffix(value, "%"))
		if err != nil || account.CheckShare(percent) != nil {
			return fmt.Errorf("%s is the part of a worker's processors that hashing passwords may take, 1 to 100 percent, and not %q", shareKey, value)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.share = percent
		for _, f := range t.changed {
			f(percent)
		}
		return nil
	}
	name, ok := strings.CutPrefix(key, quotaPrefix)
	class, kind, _ := strings.Cut(name, "-")
	id := quotaID{class, kind}
	if _, known := defaultQuotas[id]; !ok || !known {
		return fmt.Errorf("%q: %w", key, ErrNoTunable)
	}
	quota, err := limit.ParseQuota(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quotas[id] = tune(id, quota)
	return nil
}

// tunedQuota is a quota and the name that it counts under. A quota that was changed
// counts anew: who was refused by the one before would wait for it.
type tunedQuota struct {
	limit.Quota
	name string
}

func tune(id quotaID, q limit.Quota) tunedQuota { return tunedQuota{q, id.String() + ":" + q.String()} }

// SetLimits changes several limits: name=quota, separated by commas.
func (t *Tunables) SetLimits(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, quota, _ := strings.Cut(part, "=")
		if err := t.Set(quotaPrefix+name, quota); err != nil {
			if errors.Is(err, ErrNoTunable) {
				err = fmt.Errorf("there is no limit %q: there are %s", name, DefaultLimits())
			}
			return err
		}
	}
	return nil
}

func (t *Tunables) quota(id quotaID) tunedQuota {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.quotas[id]
}

// onePerson is the kind of subject that is one person, by class.
var onePerson = map[string]string{
	classRequests: kindSession, classDiscount: kindSession, classDeclined: kindSession, classLogin: kindBrowser,
}

// floorPart is the part of a person's quota that each worker lets through at least
// while it counts by itself. A browser's connections may all be of one worker; up to
// floorPart workers let no more through than they would together.
const floorPart = 4

// floor is the least that a worker lets through of any quota of a class by itself: a
// quarter of what one person may, since requests that are refused by an address's
// share of a quota are that person's as well. 0: there is no such quota.
func (t *Tunables) floor(class string) int64 {
	kind, ok := onePerson[class]
	if !ok {
		return 0
	}
	return (t.quota(quotaID{class, kind}).Units + floorPart - 1) / floorPart
}

// onShare has a function called with the share of hashing, now and when it changes.
func (t *Tunables) onShare(f func(percent int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = append(t.changed, f)
	f(t.share)
}
