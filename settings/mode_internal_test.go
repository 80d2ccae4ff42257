package settings

import (
	"io/fs"
	"testing"
)

func TestWhoMayReadAKey(t *testing.T) {
	t.Parallel()
	const file = "/etc/switchyard/key.pem"
	const readable = ", so other users of this host may read it. Run `chmod 600 " + file + "`."
	for name, c := range map[string]struct {
		mode     fs.FileMode
		readOnly bool
		others   bool // it belongs to another user
		want     string
	}{
		"its owner alone":                                  {mode: 0o600},
		"its owner alone, who may not change it":           {mode: 0o400},
		"its group, which root has given it to":            {mode: 0o640, others: true},
		"its group, as Kubernetes does with fsGroup":       {mode: 0o440, readOnly: true, others: true},
		"everybody, as Kubernetes does by default":         {mode: 0o644, readOnly: true, others: true},
		"everybody, as Docker does by default":             {mode: 0o444, readOnly: true, others: true},
		"everybody, on a disk that can be written to":      {mode: 0o644, want: "has the mode 0644" + readable},
		"everybody, though nobody may change it":           {mode: 0o444, want: "has the mode 0444" + readable},
		"everybody but the group":                          {mode: 0o604, want: "has the mode 0604" + readable},
		"the group may change it":                          {mode: 0o660, want: "has the mode 0660, so other users of this host may change it. Run `chmod 600 " + file + "`."},
		"everybody, because that is how the server can":    {mode: 0o644, others: true, want: "has the mode 0644, so other users of this host may read it. Run `chown 1000 " + file + " && chmod 600 " + file + "`."},
		"nobody knows, of what is no file, such as a pipe": {mode: 0o644 | fs.ModeNamedPipe},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const user = 1000
			err := judgeMode(file, c.mode, c.readOnly, !c.others, user)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || err.Error() != c.want):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
