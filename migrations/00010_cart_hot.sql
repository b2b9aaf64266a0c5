-- A checkout gives a cart its next id, and an id in an index makes that rewrite every index of the cart. Nobody looks a cart up by
-- its id, and that each filling is sold once is kept by orders.cart_id, which stays UNIQUE. Pages keep room for the next version
-- of a row beside the last: https://www.postgresql.org/docs/current/storage-hot.html.

-- +goose Up
-- Locks the table for a moment: nothing is read or rewritten. Releases before this one don't notice.
ALTER TABLE cart DROP CONSTRAINT cart_id_key;
ALTER TABLE cart SET (fillfactor = 70);

-- +goose Down
ALTER TABLE cart RESET (fillfactor);
ALTER TABLE cart ADD CONSTRAINT cart_id_key UNIQUE (id);
