-- The constraints of the migration before this one, for the rows that were
-- there. Owned by app/checkout and app/cart.

-- Each in a transaction of its own, under a lock that readers and writers
-- share: https://www.postgresql.org/docs/current/sql-altertable.html
-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE cart VALIDATE CONSTRAINT cart_shown;
ALTER TABLE orders VALIDATE CONSTRAINT orders_cancel_reason_check;
ALTER TABLE orders VALIDATE CONSTRAINT orders_email_lower;

-- +goose Down
SELECT 'a constraint that was checked stays checked';
