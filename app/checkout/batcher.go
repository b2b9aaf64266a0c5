package checkout

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// A batcher answers questions together: group commit. While a batch is being answered, the questions that arrive queue up,
// and the next batch takes all that wait, in the order of their arrival. Nothing waits for a batch to fill: where nobody is
// being answered, one question is a batch. At midnight one row lock and one flush of PostgreSQL's log serve dozens of
// orders, and the hot row never has a crowd before it.
//
// It starts a goroutine when there is something to answer, and has none when there is not. It is safe for concurrent use.
type batcher[Q, A any] struct {
	limits batchLimits
	// abandoned, where it is set, is told of an answer that nobody waits for any more.
	abandoned func(Q, answered[A])
	// answer returns one answer for each question. It has to come back by itself: nobody can call it off.
	answer func([]Q) []answered[A]

	mu     sync.Mutex
	queue  []*question[Q, A]
	flying int           // batches being answered
	moved  time.Time     // a batch was answered, or began when none was being
	closed bool          // nothing more is taken
	landed chan struct{} // closed when closed and nothing flies
}

type batchLimits struct {
	queue   int // questions that may wait
	size    int // questions in a batch
	flights int // batches at once
	// turn is held while a batch is answered. Those who share one take turns; a sync.Mutex may let the same one go on for as
	// long as others have waited for less than a millisecond, which makes their batches larger.
	turn sync.Locker
}

// answered is what became of one question.
type answered[A any] struct {
	value A
	err   error
}

type question[Q, A any] struct {
	asked Q
	answered[A]
	done      chan struct{}
	abandoned bool // by who asked, before it was done
}

func newBatcher[Q, A any](limits batchLimits, answer func([]Q) []answered[A]) *batcher[Q, A] {
	return &batcher[Q, A]{limits: limits, answer: answer, landed: make(chan struct{})}
}

// ask waits for the answer to a question. It fails with [ErrBusy] when too many
// wait already, and when queue ends before somebody has begun to answer: then
// the question was never asked. A question that is being answered is waited for
// until the other context ends; then the error is an [ErrBusy] too, and the
// answering goes on.
func (b *batcher[Q, A]) ask(queue, until context.Context, asked Q) (answer A, err error) {
	q := &question[Q, A]{asked: asked, done: make(chan struct{})}
	if err := b.enqueue(queue, q); err != nil {
		return answer, err
	}
	select {
	case <-q.done:
		return q.value, q.err
	case <-queue.Done():
	}
	if b.withdraw(q) {
		return answer, fmt.Errorf("%w: %w", ErrBusy, context.Cause(queue))
	}
	select {
	case <-q.done:
	case <-until.Done():
		if b.abandon(q) {
			return answer, fmt.Errorf("%w: it is still at work: %w", ErrBusy, context.Cause(until))
		}
	}
	return q.value, q.err
}

// abandon has nobody wait for the answer any more. It fails where the answer is there.
func (b *batcher[Q, A]) abandon(q *question[Q, A]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q.abandoned = !isClosed(q.done)
	return q.abandoned
}

// deliver hands an answer out.
func (b *batcher[Q, A]) deliver(q *question[Q, A], a answered[A]) {
	b.mu.Lock()
	q.answered = a
	close(q.done)
	left := q.abandoned
	b.mu.Unlock()
	if left && b.abandoned != nil {
		b.abandoned(q.asked, a)
	}
}

// post leaves a question whose answer nobody waits for. It fails with [ErrBusy] as ask does.
func (b *batcher[Q, A]) post(ctx context.Context, asked Q) error {
	return b.enqueue(ctx, &question[Q, A]{asked: asked, done: make(chan struct{})})
}

func (b *batcher[Q, A]) enqueue(ctx context.Context, q *question[Q, A]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return fmt.Errorf("%w: this worker is leaving", ErrBusy)
	case ctx.Err() != nil: // or somebody who has left could be served before those who wait
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	case len(b.queue) >= b.limits.queue && b.flying >= b.limits.flights:
		return fmt.Errorf("%w: %d requests are waiting", ErrBusy, len(b.queue))
	}
	b.queue = append(b.queue, q)
	if b.flying < b.limits.flights {
		if b.flying == 0 {
			b.moved = time.Now()
		}
		b.flying++
		go b.fly()
	}
	return nil
}

// withdraw takes a question back that nobody has begun to answer.
func (b *batcher[Q, A]) withdraw(q *question[Q, A]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.queue {
		if b.queue[i] == q {
			b.queue = append(b.queue[:i:i], b.queue[i+1:]...)
			return true
		}
	}
	return false
}

// fly answers batches until nobody waits. Who comes before the turn does is in the batch.
func (b *batcher[Q, A]) fly() {
	for {
		b.limits.turn.Lock()
		batch := b.take()
		if batch == nil {
			b.limits.turn.Unlock()
			return
		}
		answers := b.answerAll(batch)
		b.limits.turn.Unlock()
		for i, a := range answers {
			b.deliver(batch[i], a)
		}
	}
}

// noTurn is for batches that nobody has to wait for.
type noTurn struct{}

func (noTurn) Lock()   {}
func (noTurn) Unlock() {}

// take returns those who have waited longest, or nil: then this flight is over.
func (b *batcher[Q, A]) take() []*question[Q, A] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved = time.Now() // the batch before is answered, and the turn has come
	if len(b.queue) == 0 {
		b.queue = nil // a queue that was long once is not kept
		b.flying--
		b.landing()
		return nil
	}
	n := min(len(b.queue), b.limits.size)
	batch := b.queue[:n:n]
	b.queue = b.queue[n:]
	return batch
}

func (b *batcher[Q, A]) answerAll(batch []*question[Q, A]) []answered[A] {
	questions := make([]Q, len(batch))
	for i, q := range batch {
		questions[i] = q.asked
	}
	var answers []answered[A]
	if err := recovered(func() error { answers = b.answer(questions); return nil }); err != nil {
		answers = make([]answered[A], len(batch))
		for i := range answers {
			answers[i].err = err
		}
	}
	return answers
}

// panicked is a panic on its way to another goroutine. It is requests that fail by it, not the worker (W8).
type panicked struct {
	cause any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n\n%s", p.cause, p.stack) }

// recovered calls do and returns a panic as a *panicked.
func recovered(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &panicked{cause, debug.Stack()}
		}
	}()
	return do()
}

// standstill is how long batches have been answered without any of them being done. It
// is 0 when there is nothing to answer.
func (b *batcher[Q, A]) standstill() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying == 0 {
		return 0
	}
	return time.Since(b.moved)
}

// close waits until the last batch is answered, or until ctx ends. Nothing more is taken from here on, and those who wait
// are answered.
func (b *batcher[Q, A]) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.landing()
	b.mu.Unlock()
	select {
	case <-b.landed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// landing tells close that it is over. b.mu is held.
func (b *batcher[Q, A]) landing() {
	if b.closed && b.flying == 0 && !isClosed(b.landed) {
		close(b.landed)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
