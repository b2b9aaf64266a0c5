-- Numbers that don't count. Two orders of one customer told how many the shop had sold between them, to any competitor who
-- bought twice a night. Now a number comes from the sequence by a permutation of 30 bits: still unique, as short as before,
-- and next to nothing of the count in it. It is no secret: whoever reads this file can undo it. Orders that are there keep
-- their numbers, which are below a billion; new ones are above.

-- +goose Up
-- +goose StatementBegin
-- order_number returns the number of the nth order: 10 digits. Each step can be undone: an odd factor modulo 2^30, and a
-- shift to the right by half of it.
CREATE OR REPLACE FUNCTION order_number(n bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
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

CREATE SEQUENCE IF NOT EXISTS order_serial AS bigint OWNED BY orders.number;
ALTER TABLE orders
    ALTER COLUMN number DROP IDENTITY IF EXISTS,
    ALTER COLUMN number SET DEFAULT order_number(nextval('order_serial'));

-- +goose Down
-- Orders go on to be numbered so: releases before this one take what the column
-- gives. A sequence that began anew would give numbers a second time.
