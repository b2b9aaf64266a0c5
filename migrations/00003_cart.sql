-- Carts, owned by app/cart, and the discount codes that apply to them, owned by app/pricing.

-- +goose Up

-- An owner is an account or a guest; each has one cart for life. A checkout empties the cart and gives it a new
-- id, so an id stands for one filling of the cart, and orders.cart_id is unique: the same filling is sold once.
CREATE TABLE cart (
    owner_id      uuid        PRIMARY KEY,
    id            uuid        NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    discount_code text,
    merged_into   uuid,  -- the account that this guest has become: what is added late belongs there
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- No foreign key to sku, as in every table that is written while customers wait: its check would lock the one sku row
-- that everybody wants (FOR KEY SHARE, and a multixact per crowd), and SKUs are never deleted.
CREATE TABLE cart_line (
    owner_id uuid        NOT NULL REFERENCES cart,
    sku_id   bigint      NOT NULL,
    quantity integer     NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, sku_id)
);

CREATE TABLE discount (
    code               text        PRIMARY KEY CHECK (code ~ '^[A-Z0-9]{3,32}$'),
    percent            integer     CHECK (percent BETWEEN 1 AND 100),
    amount_minor       bigint      CHECK (amount_minor > 0),
    min_subtotal_minor bigint      NOT NULL DEFAULT 0 CHECK (min_subtotal_minor >= 0),
    currency           char(3)     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz NOT NULL,
    max_uses           integer     CHECK (max_uses > 0),  -- NULL: no limit, and then uses is not counted
    uses               integer     NOT NULL DEFAULT 0 CHECK (uses >= 0),
    CHECK ((percent IS NULL) <> (amount_minor IS NULL)),
    CHECK (starts_at < ends_at AND isfinite(starts_at) AND isfinite(ends_at)),
    CHECK (uses <= max_uses)
);

-- +goose Down
DROP TABLE discount, cart_line, cart;
