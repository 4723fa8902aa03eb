package tracing

import (
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	tracingapi "k8s.io/component-base/tracing/api/v1"
	"sigs.k8s.io/yaml"
)

// file is what Kubernetes components read: the API server's --tracing-config-file has the two fields of the type, too.
type file struct {
	metav1.TypeMeta                 `json:",inline"`
	tracingapi.TracingConfiguration `json:",inline"`
}

// kind is the only one that a file may say it is of.
const kind = "TracingConfiguration"

// ReadConfig reads a file with a TracingConfiguration, as the API server does.
func ReadConfig(path string) (*tracingapi.TracingConfiguration, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

func parse(content []byte) (*tracingapi.TracingConfiguration, error) {
	var read file
	if err := yaml.UnmarshalStrict(content, &read); err != nil {
		return nil, fmt.Errorf("not a %s: %w", kind, err)
	}
	if read.Kind != "" && read.Kind != kind {
		return nil, fmt.Errorf("it is of kind %s, and has to be of kind %s", read.Kind, kind)
	}
	if err := tracingapi.ValidateTracingConfiguration(&read.TracingConfiguration, nil, nil).ToAggregate(); err != nil {
		return nil, err
	}
	return &read.TracingConfiguration, nil
}
