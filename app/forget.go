package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"golang.org/x/net/idna"

	"doorbuster/app/account"
	"doorbuster/app/cart"
	"doorbuster/app/checkout"
)

// Forgotten is what [Forget] has found of an address, and changed.
type Forgotten struct {
	Pseudonym string // that orders have instead
	Account   bool
	CartLines int64 // of the account
	Sessions  int   // of browsers that are logged in to the account, or were
	checkout.Forgotten
}

// Nothing reports whether the shop knew nothing of the address.
func (f *Forgotten) Nothing() bool {
	return !f.Account && f.Sessions == 0 && f.Orders == 0 && f.Allowances == 0
}

// forgetTries is how often a transaction is tried that meets a customer at work.
const forgetTries = 3

var errDryRun = errors.New("dry run")

// Forget removes the personal data of an e-mail address, however it is spelled: its
// account with the cart, and the sessions that are logged in to it. Orders and
// payments stay for the books, with a pseudonym in the place of the address; nothing
// is kept that leads from one to the other. A dry run changes nothing, and says what
// would be changed.
//
// It refuses while an order of the address, or of the account, is pending. It can be
// repeated, and has to be where it fails in the middle. Carts of guests, which hold no
// address, go by their age (CART_RETENTION); counts of failed log-ins name a hash, and
// go within a quarter of an hour. A customer who comes back is a new one: also limits
// per customer begin anew.
func Forget(ctx context.Context, databaseURL, redisURL, email string, dryRun bool) (*Forgotten, error) {
	spellings, err := spellingsOf(email)
	if err != nil {
		return nil, err
	}
	connections, err := openPostgres(ctx, Config{DatabaseURL: databaseURL, MaxConns: 1})
	if err != nil {
		return nil, err
	}
	defer connections.close()
	client, err := openRedis(ctx, Config{RedisURL: redisURL})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	f := &Forgotten{Pseudonym: "forgotten-" + strings.ToLower(rand.Text()[:16]) + "@forgotten.invalid"}
	var ids []uuid.UUID
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, connections.of[backgroundClass], func(tx pgx.Tx) (err error) {
			if ids, err = f.forgetTx(ctx, tx, spellings); err == nil && dryRun {
				err = errDryRun
			}
			return err
		})
		if err == nil || errors.Is(err, errDryRun) {
			break
		}
		if errors.Is(err, checkout.ErrPending) {
			return nil, fmt.Errorf("an order of %s is pending, and its settlement needs the address: try again when it is settled, within some minutes as a rule", email)
		}
		if try == forgetTries || !atWork(err) {
			return nil, fmt.Errorf("forget %s: %w", email, err)
		}
	}
	if f.Sessions, err = forgetSessions(ctx, client, ids, spellings, dryRun); err != nil {
		return nil, fmt.Errorf("the databases have forgotten %s, but its sessions are left: say it again: %w", email, err)
	}
	return f, nil
}

// forgetTx takes its locks in the order of the shop: the cart, orders, stock, and the
// account at the end.
func (f *Forgotten) forgetTx(ctx context.Context, tx pgx.Tx, spellings []string) (ids []uuid.UUID, err error) {
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0"); err != nil { // years of orders are read
		return nil, err
	}
	ids, err = account.ByEmailTx(ctx, tx, spellings)
	if err != nil {
		return nil, err
	}
	f.Account, f.CartLines = len(ids) > 0, 0
	for _, id := range ids {
		lines, err := cart.RemoveTx(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		f.CartLines += lines
	}
	if f.Forgotten, err = checkout.ForgetTx(ctx, tx, spellings, ids, f.Pseudonym); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := account.RemoveTx(ctx, tx, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// atWork reports whether a transaction has failed because a customer did something in
// the same moment: a deadlock, a lock that was not to be had, or an order that was
// adopted. https://www.postgresql.org/docs/current/errcodes-appendix.html
func atWork(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"40P01", "55P03", "23503", "23505"}, pgErr.Code)
}

// spellingsOf returns the forms in which an address may be stored: as it is compared
// (normalEmail), and as releases have stored it that knew less of domain names and
// Unicode.
func spellingsOf(email string) ([]string, error) {
	typed := strings.ToLower(strings.TrimSpace(email))
	at := strings.LastIndex(typed, "@")
	if at < 1 || at == len(typed)-1 {
		return nil, fmt.Errorf("%q is no e-mail address: give one such as ada@example.com", email)
	}
	all := []string{typed, fold(typed)}
	if normal, err := normalEmail(strings.TrimSpace(email)); err == nil {
		all = append(all, normal)
		local, domain, _ := strings.Cut(normal, "@")
		if readable, err := idna.ToUnicode(domain); err == nil {
			all = append(all, local+"@"+readable)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// sessionsAtOnce is how many sessions are read in a round trip.
const sessionsAtOnce = 500

// forgetSessions ends the sessions that are logged in to an account, or whose browser
// is known to have been.
func forgetSessions(ctx context.Context, client *redis.Client, ids []uuid.UUID, spellings []string, dryRun bool) (n int, err error) {
	var cursor uint64
	for {
		scanCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		keys, next, err := client.Scan(scanCtx, cursor, sessionPrefix+"*", sessionsAtOnce).Result()
		if err == nil && len(keys) > 0 {
			var found []string
			if found, err = sessionsOf(scanCtx, client, keys, ids, spellings); err == nil && len(found) > 0 {
				n += len(found)
				if !dryRun {
					err = client.Del(scanCtx, found...).Err()
				}
			}
		}
		cancel()
		if err != nil {
			return n, err
		}
		if cursor = next; next == 0 {
			break
		}
	}
	if dryRun {
		return n, nil
	}
	for _, id := range ids { // and those that came while the others were looked for
		if err := (sessionIndex{client}).endAll(ctx, id); err != nil {
			return n, err
		}
	}
	return n, nil
}

// sessionsOf returns those of the keys whose sessions are the customer's.
func sessionsOf(ctx context.Context, client *redis.Client, keys []string, ids []uuid.UUID, spellings []string) (found []string, err error) {
	values, err := client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	for i, value := range values {
		text, ok := value.(string)
		if !ok { // it has ended meanwhile
			continue
		}
		_, stored, err := sessionCodec{}.Decode([]byte(text))
		if err != nil { // nobody can use it either
			continue
		}
		browser, _ := stored[browserKey].(string)
		whose, _, _ := strings.Cut(browser, " ")
		owner, _ := stored[accountKey].(string)
		theirs := slices.ContainsFunc(ids, func(id uuid.UUID) bool { return owner == id.String() })
		for _, s := range spellings {
			theirs = theirs || whose == emailSubject(s)
		}
		if theirs {
			found = append(found, keys[i])
		}
	}
	return found, nil
}
