package repoconfig_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

func TestWhichMachinesAJobHas(t *testing.T) {
	t.Parallel()
	config, err := repoconfig.Parse([]byte(`version: 1
environments:
  dev: { branch: develop }
  test: { branch: release, regions: [westeurope, uksouth], runs_on: self-hosted }
  prod: { branch: main, regions: [westeurope, uksouth], runs_on: { uksouth: [self-hosted, uk], westeurope: [self-hosted, west] } }
roots:
  - { dir: shared, backend: { key: "a-{environment}" } }
  - { dir: west, region: westeurope, backend: { key: "b-{environment}" } }
  - { dir: uk, region: uksouth, backend: { key: "c-{environment}" } }
`))
	if err != nil {
		t.Fatal(err)
	}
	west, uk := []string{"self-hosted", "west"}, []string{"self-hosted", "uk"}
	for name, c := range map[string]struct {
		environment string
		roots       []string
		labels      []string
		places      map[string]string
	}{
		"an environment that names none": {"dev", []string{"west", "uk"}, nil, nil},
		"labels for all regions":         {"test", []string{"uk"}, []string{"self-hosted"}, nil},
		"roots of one region":            {"prod", []string{"uk"}, uk, map[string]string{"uk": "uksouth"}},
		"roots of two regions run in the first of the environment": {
			"prod", []string{"uk", "west"}, west, map[string]string{"uk": "uksouth", "west": "westeurope"},
		},
		"a root without a region is of the first": {
			"prod", []string{"shared", "west"}, west, map[string]string{"shared": "westeurope", "west": "westeurope"},
		},
		"a root without a region beside one of another": {
			"prod", []string{"shared", "uk"}, west, map[string]string{"shared": "westeurope", "uk": "uksouth"},
		},
		"no root at all": {"prod", nil, west, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environment, _ := config.Environment(c.environment)
			if diff := cmp.Diff(c.labels, config.Labels(environment, c.roots)); diff != "" {
				t.Errorf("labels, -want +got:\n%s", diff)
			}
			if diff := cmp.Diff(c.places, config.Places(environment, c.roots)); diff != "" {
				t.Errorf("places, -want +got:\n%s", diff)
			}
		})
	}
}

func TestADefaultConfigurationNeedsNoCertainMachines(t *testing.T) {
	t.Parallel()
	config := repoconfig.Default()
	if labels := config.Labels(config.Environments[0], []string{"src/terraform"}); labels != nil {
		t.Errorf("it asks for %v", labels)
	}
}
