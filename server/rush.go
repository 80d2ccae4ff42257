package server

import (
	"context"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

const (
	// rush is how many deliveries may be on their way into the database before work waits for them: a handful means
	// that the machine cannot keep up, and GitHub gives up a delivery after 10 seconds, while work can be done later.
	// https://docs.github.com/en/webhooks/using-webhooks/handling-webhook-deliveries
	rush = 4
	// rushLimit is how long one piece of work waits at most, so that whoever sends without a pause stops nothing.
	rushLimit = 250 * time.Millisecond
)

// inbox takes deliveries, and knows how many are on their way.
type inbox struct {
	handlers.Inbox

	mu    sync.Mutex
	taken int
	calm  chan struct{} // closed while there is no rush
}

func newInbox(to handlers.Inbox) *inbox {
	calm := make(chan struct{})
	close(calm)
	return &inbox{Inbox: to, calm: calm}
}

// Accept is the Accept of the inbox that it stands before.
func (i *inbox) Accept(ctx context.Context, delivery store.Delivery, jobs []queue.Job) (bool, error) {
	i.count(1)
	defer i.count(-1)
	return i.Inbox.Accept(ctx, delivery, jobs) //nolint:wrapcheck // it is that one's answer
}

func (i *inbox) count(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.taken
	i.taken += n
	switch {
	case before <= rush && i.taken > rush:
		i.calm = make(chan struct{})
	case before > rush && i.taken <= rush:
		close(i.calm)
	}
}

// wait waits while there is a rush, but not for long.
func (i *inbox) wait(ctx context.Context) {
	i.mu.Lock()
	calm := i.calm
	i.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, rushLimit)
	defer cancel()
	select {
	case <-calm:
	case <-ctx.Done():
	}
}
