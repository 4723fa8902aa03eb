package chart

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// composed are metrics whose names the libraries put together as they start, so that the program has them in parts.
var composed = map[string][]string{
	"workqueue_depth":                {"workqueue", "depth"},
	"csi_sidecar_operations_seconds": {"csi_sidecar", "operations_seconds"},
}

// exported reports whether the program has a metric, by looking for its name in it.
func exported(program []byte, metric string) bool {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		metric = strings.TrimSuffix(metric, suffix)
	}
	parts := composed[metric]
	if parts == nil {
		parts = []string{metric}
	}
	return !slices.ContainsFunc(parts, func(part string) bool { return !bytes.Contains(program, []byte(part)) })
}

func program(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(binary(t, "berth"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// metricsOf parses an expression as Prometheus does and returns the names in it.
func metricsOf(t *testing.T, expression string) []string {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%v in %s", err, expression)
		return nil
	}
	var found []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			found = append(found, selector.Name)
		}
		return nil
	})
	return found
}

// TestAlerts: Prometheus reads every rule, and what they ask for is exported.
func TestAlerts(t *testing.T) {
	berth := program(t)
	for mode, values := range modes(t) {
		rules := of[*monitoringv1.PrometheusRule](rendered(t, values, append(apiVersions(), "--set", "metrics.rules.enabled=true")...))
		if len(rules) != 1 {
			t.Fatalf("%s: there are %d PrometheusRules", mode, len(rules))
		}
		for name, rule := range rules {
			content, err := yaml.Marshal(rule.Spec)
			if err != nil {
				t.Fatal(err)
			}
			groups, problems := rulefmt.Parse(content, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.NewTextHandler(io.Discard, nil)))
			for _, problem := range problems {
				t.Errorf("%s: %s: %v", mode, name, problem)
			}
			if groups == nil {
				continue
			}
			for _, alert := range groups.Groups[0].Rules {
				checkAlert(t, berth, &alert)
			}
		}
	}
}

func checkAlert(t *testing.T, berth []byte, alert *rulefmt.Rule) {
	t.Helper()
	if alert.Alert == "PoolFull" {
		return // the test's own
	}
	for _, metric := range metricsOf(t, alert.Expr) {
		if !exported(berth, metric) {
			t.Errorf("%s: the program has no metric %s", alert.Alert, metric)
		}
	}
	if !slices.Contains([]string{"critical", "warning", "info"}, alert.Labels["severity"]) {
		t.Errorf("%s has severity %q", alert.Alert, alert.Labels["severity"])
	}
	for _, text := range []string{"summary", "description", "runbook_url"} {
		if alert.Annotations[text] == "" {
			t.Errorf("%s has no %s", alert.Alert, text)
		}
	}
	page, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n## "+alert.Alert+"\n") || !strings.HasSuffix(alert.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(alert.Alert)) {
		t.Errorf("%s: docs/alerts.md does not say what to do, or %s does not lead there", alert.Alert, alert.Annotations["runbook_url"])
	}
}

func TestAlertsAreChosen(t *testing.T) {
	objects := rendered(t, "testdata/values/split.yaml", apiVersions()...)
	text, err := yaml.Marshal(objects["PrometheusRule pool-berth"])
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{"BerthEventsDropped": false, "PoolFull": true, "BerthNobodyLeads": true, "team: storage": true} {
		if got := strings.Contains(string(text), word); got != want {
			t.Errorf("%s is there: %v", word, got)
		}
	}
}

// TestMonitorsFindThePods: by Service and by Pod.
func TestMonitorsFindThePods(t *testing.T) {
	objects := rendered(t, "testdata/values/split.yaml", apiVersions()...)
	service := objects["Service pool-berth-metrics"].(*corev1.Service)
	monitor := objects["ServiceMonitor pool-berth"].(*monitoringv1.ServiceMonitor)
	if !selects(monitor.Spec.Selector.MatchLabels, service.Labels) || monitor.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
		t.Errorf("the ServiceMonitor does not find %v", service.Labels)
	}
	if other := objects["Service pool-berth-admission"].(*corev1.Service); selects(monitor.Spec.Selector.MatchLabels, other.Labels) {
		t.Error("the ServiceMonitor finds the webhooks' Service")
	}
	pods := objects["PodMonitor pool-berth"].(*monitoringv1.PodMonitor)
	for name, pod := range podSpecs(objects) {
		if name == "Pod pool-berth-check" {
			continue
		}
		if !selects(service.Spec.Selector, pod.Labels) || !selects(pods.Spec.Selector.MatchLabels, pod.Labels) {
			t.Errorf("nobody scrapes %s", name)
		}
	}
}

// dashboard is what the test looks at of Grafana's.
type dashboard struct {
	UID        string
	Title      string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, RefID string }
}

// TestDashboard: it parses, panels do not lie on each other, and what they draw is exported.
func TestDashboard(t *testing.T) {
	objects := rendered(t, "testdata/values/split.yaml", apiVersions()...)
	text := objects["ConfigMap pool-berth-dashboard"].(*corev1.ConfigMap).Data["pool-berth.json"]
	var board dashboard
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" || len(board.Panels) < 10 {
		t.Fatalf("the dashboard has %d panels", len(board.Panels))
	}
	berth := program(t)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$namespace", "storage", "$pod", ".*")
	ids := map[int]bool{}
	for i, one := range board.Panels {
		if ids[one.ID] {
			t.Errorf("two panels have the ID %d", one.ID)
		}
		ids[one.ID] = true
		for _, target := range one.Targets {
			for _, metric := range metricsOf(t, variables.Replace(target.Expr)) {
				if !exported(berth, metric) {
					t.Errorf("%s: the program has no metric %s", one.Title, metric)
				}
			}
		}
		if one.Type != "row" && len(one.Targets) == 0 {
			t.Errorf("%s draws nothing", one.Title)
		}
		for _, other := range board.Panels[:i] {
			a, b := one.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies on %s", one.Title, other.Title)
			}
		}
	}
	names := regexp.MustCompile(`berth_\w+`)
	for _, variable := range board.Templating.List {
		for _, metric := range names.FindAllString(variable.Definition, -1) {
			if !exported(berth, metric) {
				t.Errorf("%s: the program has no metric %s", variable.Name, metric)
			}
		}
	}
}
