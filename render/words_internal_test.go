package render

import (
	"testing"
	"time"
)

func TestDurationsAreAsPeopleSayThem(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "less than 1 s", 400 * time.Millisecond: "less than 1 s", time.Second: "1 s", 40 * time.Second: "40 s", 89 * time.Second: "89 s",
		95 * time.Second: "2 min", 2 * time.Minute: "2 min", 89 * time.Minute: "89 min", 3 * time.Hour: "3 h", 35 * time.Hour: "35 h",
		50 * time.Hour: "2 days", 240 * time.Hour: "10 days",
	} {
		if got := lasted(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestOrdinalsAndNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 112: "112th", 122: "122nd"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestProseKeepsWordsAndQuotesTheRest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A feature branch may merge to develop.":     "A feature branch may merge to develop.",
		"feature/a → develop: allowed":               "feature/a → develop: allowed",
		"by @ana, in terraform_data.x.":              "by `@ana`, in `terraform_data.x`.",
		"reviewed in #41, not in acme/other#12":      "reviewed in #41, not in `acme/other#12`",
		"see https://evil.example or www.evil.com":   "see `https://evil.example` or `www.evil.com`",
		"comment `/apply dev`, or `a``b`":            "comment `/apply dev`, or `a` `b`",
		"- a list":                                   "`-` a list",
		"1. a list":                                  "`1`. a list",
		"R&D <b>bold</b>":                            "`R&D` `<b>bold</b>`",
		"(`x`) and \"y\"":                            "(`x`) and \"y\"",
		"an unpaired ` tick":                         "an unpaired `` ` `` tick",
		"`.github/switchyard.yml:7:12`: unknown key": "`.github/switchyard.yml:7:12`: unknown key",
	} {
		if got := prose(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestHTMLEscapesOfAResultFileAreTakenBack(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"\u003cb\u003e \u0026"`: `"<b> &"`,
		`"\\u003c"`:              `"\\u003c"`,
		`"\\\u003c"`:             `"\\<"`,
		`"\u0000\u2028"`:         `"\u0000\u2028"`,
	} {
		if got := unescapeHTML(text); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}
