-- One more reason why money has to go back: an order that is confirmed was
-- charged for again. Owned by app/checkout.

-- +goose Up
ALTER TABLE refund_due
    DROP CONSTRAINT refund_due_reason_check,
    ADD CONSTRAINT refund_due_reason_check
        CHECK (reason IN ('wrong_amount', 'captured_after_cancel', 'charged_twice')) NOT VALID;

-- +goose Down
-- NOT VALID: money that has to go back stays noted.
ALTER TABLE refund_due
    DROP CONSTRAINT refund_due_reason_check,
    ADD CONSTRAINT refund_due_reason_check CHECK (reason IN ('wrong_amount', 'captured_after_cancel')) NOT VALID;
