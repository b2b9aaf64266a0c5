-- What was agreed when an order was placed, so that the books are judged by that and not by what the shop allows today; and
-- money that has to go back.

-- +goose Up
-- Both are NULL where a release wrote them that did not know them: what the shop allows today counts then.
ALTER TABLE order_line ADD COLUMN agreed_limit integer CHECK (agreed_limit > 0);  -- units per customer; NULL without one, too
ALTER TABLE orders ADD COLUMN discount_counted boolean;  -- whether the use of the code was counted

-- Money that the provider has taken and that nobody owes. Owned by app/checkout; people pay it back and say when.
CREATE TABLE refund_due (
    order_id           uuid        NOT NULL REFERENCES orders,
    provider_reference text        NOT NULL,
    amount_minor       bigint      NOT NULL CHECK (amount_minor > 0),
    currency           text        NOT NULL,  -- as the provider says it: what it says wrongly must be noted, too
    reason             text        NOT NULL CHECK (reason IN ('wrong_amount', 'captured_after_cancel')),
    noted_at           timestamptz NOT NULL DEFAULT now(),
    refunded_at        timestamptz,
    PRIMARY KEY (order_id, provider_reference)
);

-- +goose Down
DROP TABLE refund_due;
ALTER TABLE orders DROP COLUMN discount_counted;
ALTER TABLE order_line DROP COLUMN agreed_limit;
