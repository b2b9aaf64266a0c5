-- The constraints of the three migrations before this one, for the rows that
-- were there. Each in a transaction of its own, under a lock that readers and
-- writers share: https://www.postgresql.org/docs/current/sql-altertable.html

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE cart VALIDATE CONSTRAINT cart_shown;
ALTER TABLE orders VALIDATE CONSTRAINT orders_cancel_reason_check;
ALTER TABLE orders VALIDATE CONSTRAINT orders_email_lower;
ALTER TABLE refund_due VALIDATE CONSTRAINT refund_due_reason_check;

-- +goose Down
-- A constraint that was checked stays checked.
