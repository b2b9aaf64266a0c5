-- One more reason why money has to go back: an order that is confirmed was charged for again.

-- +goose Up
-- NOT VALID, and then VALIDATE, so that nobody is locked out while rows are read: there are few.
ALTER TABLE refund_due DROP CONSTRAINT refund_due_reason_check;
ALTER TABLE refund_due ADD CONSTRAINT refund_due_reason_check
    CHECK (reason IN ('wrong_amount', 'captured_after_cancel', 'charged_twice')) NOT VALID;
ALTER TABLE refund_due VALIDATE CONSTRAINT refund_due_reason_check;

-- +goose Down
-- NOT VALID, since money that has to go back stays noted.
ALTER TABLE refund_due DROP CONSTRAINT refund_due_reason_check;
ALTER TABLE refund_due ADD CONSTRAINT refund_due_reason_check CHECK (reason IN ('wrong_amount', 'captured_after_cancel')) NOT VALID;
