package diagnostics

import (
	"regexp"

	"k8s.io/apimachinery/pkg/util/version"
	apimachineryversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/server/flagz"
	"k8s.io/apiserver/pkg/server/statusz"
	"k8s.io/component-base/compatibility"
)

// component is the name on /statusz and /flagz.
const component = "berth"

// zpages serves /statusz and /flagz as Kubernetes' own components do (KEP-4827, KEP-4828).
func zpages(to routes, config Config) {
	statusz.Install(to, component, statusz.NewRegistry(release{parseVersion(config.Version)}, statusz.WithListedPaths(config.paths())))
	if config.Flags != nil {
		flagz.Install(to, component, config.Flags)
	}
}

// paths are those that are served.
func (c Config) paths() []string {
	paths := []string{"/livez", "/readyz", "/healthz", c.MetricsPath, "/statusz"}
	if c.Flags != nil {
		paths = append(paths, "/flagz")
	}
	if c.Pprof {
		paths = append(paths, "/debug/pprof/")
	}
	return paths
}

// release is a version as /statusz wants it. Only a component that can behave like an older one has more to say.
type release struct{ binary *version.Version }

var _ compatibility.EffectiveVersion = release{}

func (r release) BinaryVersion() *version.Version             { return r.binary }
func (r release) EmulationVersion() *version.Version          { return nil }
func (r release) MinCompatibilityVersion() *version.Version   { return nil }
func (r release) AllowedEmulationVersionRange() string        { return "" }
func (r release) AllowedMinCompatibilityVersionRange() string { return "" }
func (r release) String() string                              { return r.binary.String() }
func (r release) Info() *apimachineryversion.Info             { return nil }
func (r release) Validate() []error                           { return nil }
func (r release) EqualTo(other compatibility.EffectiveVersion) bool {
	return other != nil && r.binary.String() == other.BinaryVersion().String()
}

var noIdentifier = regexp.MustCompile(`[^0-9A-Za-z-]+`)

// parseVersion makes a version of what a build calls itself. What is none, like the name of a commit, follows a version of zeros.
func parseVersion(name string) *version.Version {
	if parsed, err := version.ParseSemantic(name); err == nil {
		return parsed
	}
	return version.MustParseSemantic("0.0.0-x-" + noIdentifier.ReplaceAllString(name, "-"))
}
