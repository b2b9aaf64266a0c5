-- Orders of an address that has its limit, and whose allowance a guest's units
-- are after a login. Owned by app/checkout.

-- +goose Up
ALTER TABLE orders
    ADD COLUMN over_limit  text,  -- the SKU of which its e-mail address had enough: nothing is charged for such an order
    ADD COLUMN counted_for uuid,  -- whose allowance its units count against; NULL: its owner's
    DROP CONSTRAINT orders_cancel_reason_check,
    ADD CONSTRAINT orders_cancel_reason_check
        CHECK (cancel_reason IN ('declined', 'payment_failed', 'expired', 'customer_limit')) NOT VALID,
    ADD CONSTRAINT orders_email_lower CHECK (email = lower(email)) NOT VALID;

-- +goose Down
-- NOT VALID: orders that were cancelled for the limit stay so.
ALTER TABLE orders
    DROP CONSTRAINT orders_email_lower,
    DROP CONSTRAINT orders_cancel_reason_check,
    ADD CONSTRAINT orders_cancel_reason_check CHECK (cancel_reason IN ('declined', 'payment_failed', 'expired')) NOT VALID,
    DROP COLUMN counted_for,
    DROP COLUMN over_limit;
