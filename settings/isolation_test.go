package settings_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/settings"
)

func TestIsolationIsRead(t *testing.T) {
	t.Parallel()
	file := write(t, "isolation: { read: [/opt/mirror/, /opt/tools], write: [/srv/states], missing: [truncation] }")
	got, err := settings.Load(file, environment(t, "SWITCHYARD_ISOLATION_MISSING=signals, truncation"))
	if err != nil {
		t.Fatal(err)
	}
	want := operation.Isolation{
		Read: []string{"/opt/mirror", "/opt/tools"}, Write: []string{"/srv/states"},
		Missing: []operation.Protection{operation.ProtectSignals, operation.ProtectTruncation},
	}
	if diff := cmp.Diff(want, got.Isolation); diff != "" {
		t.Error(diff)
	}
}

func TestIsolationThatOpensTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"a protection that there is none": {"isolation: { missing: [all] }", `has "all", which is no protection`},
		"a relative path":                 {"isolation: { read: [mirror] }", `has "mirror", which is not an absolute path`},
		"everything":                      {"isolation: { read: [/] }", `"/" would open data_dir`},
		"the data directory":              {"data_dir: /srv/s\nisolation: { write: [/srv/s] }", `"/srv/s" would open data_dir`},
		"what is in the data directory":   {"data_dir: /srv/s\nisolation: { read: [/srv/s/work] }", `"/srv/s/work" would open data_dir`},
		"what the data directory is in":   {"data_dir: /srv/s\nisolation: { read: [/srv/s/../] }", `"/srv" would open data_dir`},
		"the database":                    {"database: sqlite:/db/s.db\nisolation: { read: [/db] }", `"/db" would open database`},
		"the plugin cache": {
			"terraform: { plugin_cache: /c/p }\nisolation: { write: [/c] }", `"/c" would open terraform.plugin_cache`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Load(write(t, c.file), environment(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	t.Run("the key file", func(t *testing.T) {
		t.Parallel()
		key := write(t, rsaKey(t))
		_, err := settings.Load("", environment(t, "SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_PRIVATE_KEY_FILE="+key, "SWITCHYARD_ISOLATION_READ="+key))
		if err == nil || !strings.Contains(err.Error(), "would open private_key_file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("what lies beside is opened", func(t *testing.T) {
		t.Parallel()
		file := write(t, "data_dir: /srv/s\nterraform: { plugin_cache: /c/p }\nisolation: { read: [/srv/s2, /c], write: [/srv/states] }")
		if _, err := settings.Load(file, environment(t)); err != nil {
			t.Error(err)
		}
	})
}
