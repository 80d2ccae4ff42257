package repoconfig

import "cmp"

// Places are the regions on whose runners roots are planned in an environment, by root; nil where all of its runners are alike.
func (c Config) Places(environment Environment, roots []string) map[string]string {
	if len(environment.RunsOnIn) == 0 {
		return nil
	}
	places := make(map[string]string, len(roots))
	for _, dir := range roots {
		root, _ := c.Root(dir)
		places[dir] = cmp.Or(root.Region, environment.Regions[0])
	}
	return places
}

// Labels are the labels of the runner of one job with these roots: those of their region where all have the same, else those of the
// first of the environment's regions. None is ubuntu-latest.
func (c Config) Labels(environment Environment, roots []string) []string {
	if len(environment.RunsOnIn) == 0 {
		return environment.RunsOn
	}
	region := ""
	for _, place := range c.Places(environment, roots) {
		if region != "" && place != region {
			region = environment.Regions[0]
			break
		}
		region = place
	}
	return environment.RunsOnIn[cmp.Or(region, environment.Regions[0])]
}
