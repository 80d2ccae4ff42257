package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestAPersonTypesWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command  lockBreakCommand
		terminal bool
		typed    string
		want     string // in the error; empty: none
	}{
		"the id":                {lockBreakCommand{LockID: "1"}, true, "1\n", ""},
		"the id and no newline": {lockBreakCommand{LockID: "1"}, true, " 1", ""},
		"another id":            {lockBreakCommand{LockID: "1"}, true, "12\n", "what was typed is not the lock id"},
		"yes":                   {lockBreakCommand{LockID: "1"}, true, "yes\n", "what was typed is not the lock id"},
		"nothing":               {lockBreakCommand{LockID: "1"}, true, "", "what was typed is not the lock id"},
		"the etag":              {lockBreakCommand{Empty: true, Etag: "0x1"}, true, "0x1\n", ""},
		"not the etag":          {lockBreakCommand{Empty: true, Etag: "0x1"}, true, "\n", "what was typed is not the etag"},
		"no terminal":           {lockBreakCommand{LockID: "1"}, false, "1\n", "as this is no terminal"},
		"no question":           {lockBreakCommand{LockID: "1", Yes: true}, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.command.ask(t.Context(), c.terminal, strings.NewReader(c.typed), io.Discard)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAQuestionEndsWithAnInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, end := io.Pipe()
	defer func() { _ = end.Close() }()
	if err := (lockBreakCommand{LockID: "1"}).ask(ctx, true, never, io.Discard); err == nil {
		t.Error("it was taken for a yes")
	}
}
