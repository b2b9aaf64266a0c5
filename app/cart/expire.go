package cart

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ErrExpiring says that somebody else is removing carts.
var ErrExpiring = errors.New("carts are being removed elsewhere")

// expireLock is the key of the advisory lock of a transaction that removes carts.
const expireLock = 0x646f6f7263617274 // "doorcart"

// Old is a part of the carts, in the order of their owners' ids.
type Old struct {
	Owners []uuid.UUID // of those that nobody has touched for long
	Last   uuid.UUID   // the last owner that was looked at; uuid.Nil: there are no more
}

const oldCarts = `-- name: cart.old
SELECT owner_id, updated_at < now() - $3::interval FROM cart WHERE owner_id > $1 AND owner_id < $2 ORDER BY owner_id LIMIT $4`

// Old looks at up to so many carts after an owner's, and returns those that nobody has
// changed for a time.
//
// Owners' ids are made by the clock (UUIDv7), so carts of younger owners are not
// looked at: there is no index by age, since it would be written with every change of
// a cart. A cart of an owner whose id is random may be kept.
func (s *Store) Old(ctx context.Context, after uuid.UUID, age time.Duration, atMost int) (Old, error) {
	rows, err := s.pool.Query(ctx, oldCarts, after, firstID(time.Now().Add(-age)), age, atMost)
	if err != nil {
		return Old{}, fmt.Errorf("look for old carts: %w", err)
	}
	var found Old
	var owner uuid.UUID
	var old bool
	_, err = pgx.ForEachRow(rows, []any{&owner, &old}, func() error {
		if found.Last = owner; old {
			found.Owners = append(found.Owners, owner)
		}
		return nil
	})
	if err != nil {
		return Old{}, fmt.Errorf("look for old carts: %w", err)
	}
	return found, nil
}

// firstID is no greater than any UUIDv7 that is made from a moment on (RFC 9562,
// section 5.7).
func firstID(at time.Time) (id uuid.UUID) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	return id
}

const (
	beginExpire = `-- name: cart.begin_expire
SELECT pg_try_advisory_xact_lock($1) FROM set_config('synchronous_commit', 'off', true)`
	lockOld = `-- name: cart.lock_old
SELECT owner_id FROM cart WHERE owner_id = ANY ($1) AND updated_at < now() - $2::interval ORDER BY owner_id FOR UPDATE SKIP LOCKED`
	expireLines = `-- name: cart.expire_lines
DELETE FROM cart_line WHERE owner_id = ANY ($1)`
	expireCarts = `-- name: cart.expire
DELETE FROM cart WHERE owner_id = ANY ($1)`
)

// Expire removes those of the owners' carts that nobody has changed for a time, with
// their lines, and returns how many. A cart that somebody changes meanwhile stays: its
// row is locked, or its age is looked at again under the lock. Who adds to a cart that
// was removed just before gets a new one. It waits for nobody, and fails with
// [ErrExpiring] where another transaction is at it.
func (s *Store) Expire(ctx context.Context, owners []uuid.UUID, age time.Duration) (carts, lines int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var ours bool
		if err := tx.QueryRow(ctx, beginExpire, expireLock).Scan(&ours); err != nil {
			return err
		}
		if !ours {
			return ErrExpiring
		}
		rows, err := tx.Query(ctx, lockOld, owners, age)
		if err != nil {
			return err
		}
		old, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		gone, err := tx.Exec(ctx, expireLines, old)
		if err != nil {
			return err
		}
		lines = gone.RowsAffected()
		if gone, err = tx.Exec(ctx, expireCarts, old); err != nil {
			return err
		}
		carts = gone.RowsAffected()
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("remove old carts: %w", err)
	}
	return carts, lines, nil
}
