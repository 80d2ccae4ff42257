//go:build linux

package confine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

func TestOldKernelsAreRefusedByName(t *testing.T) {
	t.Parallel()
	const files, truncation, signals = operation.ProtectFiles, operation.ProtectTruncation, operation.ProtectSignals
	for name, c := range map[string]struct {
		version  int
		accepted []operation.Protection
		want     []operation.Protection
	}{
		"all is there":                           {version: 7},
		"a version that is not known yet":        {version: 99},
		"signals are open":                       {version: 5, want: []operation.Protection{signals}},
		"open signals are accepted":              {version: 5, accepted: []operation.Protection{signals}},
		"truncation is open too":                 {version: 2, accepted: []operation.Protection{signals}, want: []operation.Protection{truncation}},
		"no Landlock":                            {want: []operation.Protection{files, truncation, signals}},
		"no Landlock, and only files accepted":   {accepted: []operation.Protection{files}, want: []operation.Protection{truncation, signals}},
		"no Landlock, and all of it is accepted": {accepted: operation.Protections()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []operation.Protection
			if err := confine.RequireIn(c.version, c.accepted); err != nil {
				got = err.(*confine.MissingError).Protections //nolint:errorlint,forcetypeassert // it gives no other
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusalSaysWhatIsOpenAndWhatToDo(t *testing.T) {
	t.Parallel()
	got := (&confine.MissingError{Protections: confine.MissingIn(2)}).Error()
	want := `this host cannot isolate the code of pull requests. Without "truncation" it empties files that it can neither read nor ` +
		`write, such as the database. Without "signals" it stops the server and other operations. Use Linux 6.12 or newer with ` +
		`Landlock, or accept it by name: isolation.missing: [truncation, signals]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
