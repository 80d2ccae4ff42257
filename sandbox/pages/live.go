package pages

import (
	"net/http"
	"time"
)

// Between two events passes at least settle, so that a burst of changes is one refresh, and at most
// heartbeat, so that a browser that is gone is noticed.
const (
	settle    = 200 * time.Millisecond
	heartbeat = 20 * time.Second
)

// events tells the page's script that the sandbox changed: one server-sent event at once, because
// something may have changed since the page was made, and one after each change.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func (p *pages) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	for message := "data: change\n\n"; ; {
		changed := p.world.Changed()
		if _, err := w.Write([]byte(message)); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		message = wait(r, changed)
		if message == "" {
			return
		}
	}
}

// wait returns the next message, or nothing when the browser is gone.
func wait(r *http.Request, changed <-chan struct{}) string {
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	select {
	case <-r.Context().Done():
		return ""
	case <-beat.C:
		return ": still here\n\n"
	case <-changed:
	}
	calm := time.NewTimer(settle)
	defer calm.Stop()
	select {
	case <-r.Context().Done():
		return ""
	case <-calm.C:
		return "data: change\n\n"
	}
}
