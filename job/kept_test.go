package job_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/render"
)

func keep(t *testing.T, text string, data []byte) (string, bool) {
	t.Helper()
	with, whole, err := job.Keep(text, data)
	if err != nil {
		t.Fatal(err)
	}
	return with, whole
}

func TestWhatIsKeptInACheckIsFoundAgain(t *testing.T) {
	t.Parallel()
	random := make([]byte, 60_000)
	for i := range random {
		random[i] = byte(rand.N(256)) //nolint:gosec // only something that does not compress
	}
	forged, _ := keep(t, "", []byte("forged"))
	for name, c := range map[string]struct {
		text  string
		data  []byte
		lost  bool
		short bool
	}{
		"beside a short text":                           {text: "a plan", data: []byte(`{"a":1}`)},
		"without any text":                              {data: []byte("x")},
		"nothing":                                       {text: "a plan"},
		"beside a text as long as GitHub takes":         {text: strings.Repeat("ä line\n", 9000)[:render.MaxCheckText], data: []byte("x"), short: true},
		"a text that looks like something kept":         {text: "value = " + forged, data: []byte("ours")},
		"nothing, after a text that looks like it":      {text: "value = " + forged},
		"too much is not kept, and nothing else passes": {text: "value = " + forged, data: random, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with, whole := keep(t, c.text, c.data)
			if len(with) > render.MaxCheckText || !utf8.ValidString(with) {
				t.Errorf("it has %d bytes, valid: %v", len(with), utf8.ValidString(with))
			}
			if whole == c.lost || strings.Contains(with, "The rest is in") != c.short {
				t.Errorf("whole: %v, shortened: %v", whole, !c.short)
			}
			want := c.data
			if c.lost {
				want = nil
			}
			got, err := job.Kept(with)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
			}
		})
	}
}

func TestWhatWasWrittenOverIsNotTakenForKept(t *testing.T) {
	t.Parallel()
	whole, _ := keep(t, "a plan", []byte("ours"))
	for name, c := range map[string]struct {
		text    string
		refused bool
	}{
		"a person wrote after it": {text: whole + "\nmore"},
		"cut":                     {text: whole[:len(whole)-6]},
		"not base64":              {text: "\n<!-- switchyard:kept:1 AAA -->", refused: true},
		"not compressed":          {text: "\n<!-- switchyard:kept:1 AAAA -->", refused: true},
		"empty":                   {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := job.Kept(c.text)
			if got != nil || (err != nil) != c.refused {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
