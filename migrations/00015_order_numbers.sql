-- Numbers that don't count. Two orders of one customer told how many the shop had sold between them, to any competitor who
-- bought twice a night. Now a number comes from the sequence by a permutation of 30 bits: still unique, as short as before,
-- and next to nothing of the count in it. It is no secret: whoever reads this file can undo it. Orders that are there keep
-- their numbers, which are below a billion; new ones are above.

-- +goose Up
-- +goose StatementBegin
-- order_number returns the number of the nth order: 10 digits. Each step can be undone: an odd factor modulo 2^30, and a
-- shift to the right by half of it.
CREATE FUNCTION order_number(n bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    x bigint := n & 1073741823;
BEGIN
    x := x # 298340917;
    x := (x * 739982445) & 1073741823;
    x := x # (x >> 15);
    x := (x * 695872825) & 1073741823;
    x := x # (x >> 15);
    x := (x * 461845907) & 1073741823;
    x := x # (x >> 15);
    -- After a billion orders there is a digit more: each of the next billions has its own.
    RETURN 1000000000 + x + (n >> 30) * 10000000000;
END
$$;
-- +goose StatementEnd

CREATE SEQUENCE order_serial AS bigint OWNED BY orders.number;
ALTER TABLE orders
    ALTER COLUMN number DROP IDENTITY,
    ALTER COLUMN number SET DEFAULT order_number(nextval('order_serial'));

-- +goose Down
-- Orders that were numbered meanwhile keep their numbers, and later ones count on behind them.
ALTER TABLE orders ALTER COLUMN number DROP DEFAULT;
ALTER TABLE orders ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (START WITH 100001);
SELECT setval(pg_get_serial_sequence('orders', 'number'), greatest((SELECT max(number) FROM orders), 100000));
DROP SEQUENCE order_serial;
DROP FUNCTION order_number;
