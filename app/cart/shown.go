package cart

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/money"
)

// A cart that was changed since it was read keeps what it has: whoever changed
// it shows another total. So does one that somebody has locked, such as a
// checkout: nobody waits here.
const setShown = `-- name: cart.shown
UPDATE cart SET shown_minor = $4, shown_currency = $5, refused_key = NULL
 WHERE owner_id = (SELECT owner_id FROM cart WHERE owner_id = $1 AND id = $2 AND updated_at = $3 FOR NO KEY UPDATE SKIP LOCKED)
   AND set_config('synchronous_commit', 'off', true) IS NOT NULL`

// QueueShown adds the statement that remembers which total the owner is shown
// for a cart as [Store.Get] has read it, if that is another than was
// remembered. An empty cart has none.
func QueueShown(batch *pgx.Batch, owner uuid.UUID, c Cart, total money.Money) {
	switch {
	case len(c.Lines) == 0 && c.Shown != nil:
		batch.Queue(setShown, owner, c.ID, c.Changed, nil, nil)
	case len(c.Lines) > 0 && (c.Shown == nil || *c.Shown != total || c.RefusedKey != ""):
		batch.Queue(setShown, owner, c.ID, c.Changed, total.Minor, total.Currency)
	}
}

// Told is a total that a checkout was refused with.
type Told struct {
	Owner uuid.UUID
	Total money.Money
	Key   string // of the checkout
}

const setTold = `-- name: cart.told
UPDATE cart c SET shown_minor = u.minor, shown_currency = u.currency, refused_key = nullif(u.key, '')
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS u (owner_id, minor, currency, key) WHERE c.owner_id = u.owner_id`

// QueueTold adds the statement that remembers what refused checkouts are told,
// as shown to all but their own keys: an answer may be lost, and then the same
// request comes again. The transaction holds the locks of [LockTx].
func QueueTold(batch *pgx.Batch, told []Told) {
	owners, minors := make([]uuid.UUID, len(told)), make([]int64, len(told))
	currencies, keys := make([]string, len(told)), make([]string, len(told))
	for i, t := range told {
		owners[i], minors[i], currencies[i], keys[i] = t.Owner, t.Total.Minor, t.Total.Currency, t.Key
	}
	batch.Queue(setTold, owners, minors, currencies, keys)
}
