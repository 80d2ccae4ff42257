package server

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// slowInbox holds each delivery until it is told to go on.
type slowInbox struct{ begun, goOn chan struct{} }

func (s slowInbox) Accept(context.Context, store.Delivery, []queue.Job) (bool, error) {
	s.begun <- struct{}{}
	<-s.goOn
	return true, nil
}

func TestWorkWaitsWhileThereIsARushOfDeliveriesButNotForLong(t *testing.T) {
	t.Parallel()
	slow := slowInbox{make(chan struct{}), make(chan struct{})}
	in := newInbox(slow)
	waits := func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		select {
		case <-in.calm:
			return false
		default:
			return true
		}
	}
	var sent sync.WaitGroup
	for n := range rush + 1 {
		if waits() {
			t.Errorf("work waits for %d deliveries", n)
		}
		sent.Go(func() { _, _ = in.Accept(t.Context(), store.Delivery{}, nil) })
		<-slow.begun
	}
	if !waits() {
		t.Errorf("work does not wait for %d deliveries", rush+1)
	}
	began := time.Now()
	in.wait(t.Context())
	if took := time.Since(began); took < rushLimit {
		t.Errorf("it waited for %v only", took)
	}
	for range rush + 1 {
		slow.goOn <- struct{}{}
	}
	sent.Wait()
	if waits() {
		t.Error("work waits although all is taken")
	}
	in.wait(t.Context())
}
