package handlers

import "context"

// Ping handles the event ping, which GitHub sends when the webhook is set up. It has no actions, and an
// answer is all it asks for. See https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping.
type Ping struct{}

// Handles names the event.
func (h *Ping) Handles() []string { return []string{"ping"} }

// Handle does nothing.
func (h *Ping) Handle(ctx context.Context, event, _ string, payload []byte) error {
	var got envelope
	if err := read(event, payload, &got); err != nil {
		return err
	}
	return ignore(ctx, got, "the answer is all it asks for")
}
