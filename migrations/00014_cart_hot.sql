-- A checkout gives a cart its next id, and an id in an index makes that rewrite
-- every index of the cart. Nobody looks a cart up by its id, and that each
-- filling is sold once is kept by orders.cart_id, which stays UNIQUE. Pages keep
-- room for the next version of a row beside the last:
-- https://www.postgresql.org/docs/current/storage-hot.html. Owned by app/cart.

-- +goose Up
-- Locks the table for a moment: nothing is read or rewritten. Releases before
-- this one don't notice.
ALTER TABLE cart DROP CONSTRAINT IF EXISTS cart_id_key;
ALTER TABLE cart SET (fillfactor = 70);

-- +goose Down
-- The constraint stays away: no release needs it, and to make it would lock
-- all carts while they are read.
ALTER TABLE cart RESET (fillfactor);
