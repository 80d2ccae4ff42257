package repoconfig_test

import (
	"testing"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

func TestWhichFilesTouchARoot(t *testing.T) {
	t.Parallel()
	root := repoconfig.Root{Dir: "infra/app", VarFiles: []string{"env/{environment}.tfvars", "common.tfvars", "../shared/{environment}.tfvars"}}
	dirs := []string{"infra/app", "modules/outer", "modules/inner"}
	for _, test := range []struct{ name, file, want string }{
		{"a file of its own", "infra/app/main.tf", "infra/app/main.tf changed"},
		{"a file below it", "infra/app/templates/a.tpl", "infra/app/templates/a.tpl changed"},
		{"its variable file of the environment", "infra/app/env/dev.tfvars", "its variable file infra/app/env/dev.tfvars changed"},
		{"its variable file of another environment", "infra/app/env/prod.tfvars", ""},
		{"a variable file of every environment", "infra/app/common.tfvars", "its variable file infra/app/common.tfvars changed"},
		{"a variable file beside it", "infra/shared/dev.tfvars", "its variable file infra/shared/dev.tfvars changed"},
		{"a module that it uses", "modules/outer/main.tf", "its module modules/outer changed"},
		{"a module that its module uses", "modules/inner/main.tf", "its module modules/inner changed"},
		{"a module that it does not use", "modules/other/main.tf", ""},
		{"a directory whose name begins like its own", "infra/app2/main.tf", ""},
		{"another root", "infra/dns/main.tf", ""},
		{"a file at the top", "README.md", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := root.Touched("dev", dirs, []string{"docs/x.md", test.file}); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	if got := (repoconfig.Root{Dir: "."}).Touched("dev", []string{"."}, []string{"main.tf"}); got != "main.tf changed" {
		t.Errorf("a root at the top: %q", got)
	}
}
