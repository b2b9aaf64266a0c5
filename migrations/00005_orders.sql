-- Orders and their payments. Owned by app/checkout.

-- +goose Up
CREATE TABLE orders (
    id              uuid        PRIMARY KEY,
    number          bigint      GENERATED ALWAYS AS IDENTITY (START WITH 100001) UNIQUE,
    owner_id        uuid        NOT NULL,         -- the cart's owner when it was placed; never changes
    account_id      uuid        REFERENCES account,  -- who may read it besides; a guest's order gains it at login
    cart_id         uuid        NOT NULL UNIQUE,  -- one filling of a cart becomes one order at the most
    idempotency_key text        CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    fingerprint     bytea       NOT NULL,         -- SHA-256 of the request that carried the key
    paying_until    timestamptz NOT NULL,         -- a request is at work on the payment until then
    email           text        NOT NULL,
    status          text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'confirmed', 'cancelled')),
    cancel_reason   text        CHECK (cancel_reason IN ('declined', 'payment_failed', 'expired')),
    currency        char(3)     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    subtotal_minor  bigint      NOT NULL CHECK (subtotal_minor > 0),
    discount_minor  bigint      NOT NULL CHECK (discount_minor >= 0),
    total_minor     bigint      NOT NULL CHECK (total_minor = subtotal_minor - discount_minor AND total_minor >= 0),
    discount_code   text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    hold_expires_at timestamptz NOT NULL,
    settled_at      timestamptz,
    CHECK ((status = 'cancelled') = (cancel_reason IS NOT NULL)),
    CHECK ((status = 'pending') = (settled_at IS NULL)),
    UNIQUE (owner_id, idempotency_key)
);
CREATE INDEX orders_owner ON orders (owner_id, id);
CREATE INDEX orders_account ON orders (account_id, id) WHERE account_id IS NOT NULL;
CREATE INDEX orders_adopted ON orders (account_id, idempotency_key) WHERE account_id <> owner_id;
CREATE INDEX orders_pending ON orders (hold_expires_at) WHERE status = 'pending';

-- A line remembers what was agreed; the catalogue may change.
CREATE TABLE order_line (
    order_id         uuid    NOT NULL REFERENCES orders,
    sku_id           bigint  NOT NULL,
    sku_code         text    NOT NULL,
    name             text    NOT NULL,
    quantity         integer NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint  NOT NULL CHECK (unit_price_minor > 0),
    limited          boolean NOT NULL,  -- whether the units count against the customer's allowance
    PRIMARY KEY (order_id, sku_id)
);
CREATE INDEX order_line_sku ON order_line (sku_id);

CREATE TABLE payment (
    order_id           uuid        NOT NULL REFERENCES orders,
    provider_reference text        NOT NULL UNIQUE,
    amount_minor       bigint      NOT NULL CHECK (amount_minor >= 0),
    currency           char(3)     NOT NULL,
    captured_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id)  -- never charged twice
);

-- +goose Down
DROP TABLE payment, order_line, orders;
DROP FUNCTION IF EXISTS order_number(bigint);  -- of migration 15, whose Down leaves it
