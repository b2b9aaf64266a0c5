-- What the shop sells, and when it costs what. Owned by app/catalog.

-- +goose Up
CREATE TABLE category (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text   NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name text   NOT NULL
);

CREATE TABLE product (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category_id bigint      NOT NULL REFERENCES category,
    slug        text        NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name        text        NOT NULL,
    description text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    search      tsvector    NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A') || setweight(to_tsvector('english', description), 'B')
    ) STORED
);
CREATE INDEX product_category ON product (category_id, id);
CREATE INDEX product_search ON product USING gin (search);

-- One thing that can be put in a cart: a product in one size. The API calls its code "sku".
CREATE TABLE sku (
    id               bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id       bigint   NOT NULL REFERENCES product,
    code             text     NOT NULL UNIQUE CHECK (code ~ '^[A-Z0-9]+(-[A-Z0-9]+)*$'),
    name             text     NOT NULL,
    position         smallint NOT NULL,
    currency         char(3)  NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    list_price_minor bigint   NOT NULL CHECK (list_price_minor > 0),
    max_per_customer integer  CHECK (max_per_customer > 0),  -- NULL: no limit
    sale_only        boolean  NOT NULL DEFAULT false,        -- a doorbuster: on sale or not for sale
    UNIQUE (product_id, position)
);

CREATE TABLE sale (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug      text        NOT NULL UNIQUE,
    name      text        NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at   timestamptz NOT NULL,
    CHECK (starts_at < ends_at AND isfinite(starts_at) AND isfinite(ends_at))
);

-- A price is "now" when now() is inside its sale: nothing has to run at midnight.
CREATE TABLE sale_price (
    sku_id      bigint NOT NULL REFERENCES sku,
    sale_id     bigint NOT NULL REFERENCES sale ON DELETE CASCADE,
    price_minor bigint NOT NULL CHECK (price_minor > 0),
    PRIMARY KEY (sku_id, sale_id)
);
CREATE INDEX sale_price_sale ON sale_price (sale_id);

-- +goose Down
DROP TABLE sale_price, sale, sku, product, category;
