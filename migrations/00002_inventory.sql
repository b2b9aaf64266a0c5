-- Units on the shelf and what each customer may still take of them. Owned by app/inventory.

-- +goose Up

-- The hot rows of the night. They are narrow, have no index beside the key, and leave half of every page
-- free, so that an update stays on its page (HOT): https://www.postgresql.org/docs/current/storage-hot.html
CREATE TABLE stock (
    sku_id    bigint  PRIMARY KEY REFERENCES sku,
    available integer NOT NULL CHECK (available >= 0)  -- the second wall against overselling
) WITH (fillfactor = 50);

-- Append-only: what was ever put on the shelf. Received = available + held + sold, or the books are wrong.
CREATE TABLE stock_receipt (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku_id      bigint      NOT NULL REFERENCES sku,
    quantity    integer     NOT NULL CHECK (quantity <> 0),
    note        text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stock_receipt_sku ON stock_receipt (sku_id);

-- Units of a limited SKU that a customer holds or has bought. A customer is known by two names, the owner of
-- the cart and the e-mail address of the order, and each has to stay within the limit.
CREATE TABLE allowance (
    sku_id   bigint  NOT NULL,
    customer text    NOT NULL,
    taken    integer NOT NULL CHECK (taken >= 0),
    PRIMARY KEY (sku_id, customer)
);

-- +goose Down
DROP TABLE allowance, stock_receipt, stock;
