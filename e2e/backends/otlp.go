package backends

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Attributes are the attributes of a point, a span or a resource, by name. A value is a string,
// bool, int64, float64, or a slice of these.
type Attributes map[string]any

// Text returns the value of a string attribute, or "" if there is none.
func (a Attributes) Text(name string) string {
	text, _ := a[name].(string)
	return text
}

// Point is the state of one metric for one set of attributes.
type Point struct {
	Metric      string
	Unit        string
	Description string
	Scope       string
	Resource    Attributes
	Attributes  Attributes

	// Cumulative is true if the point counts from Start on, and false if it counts from the last
	// point.
	Cumulative bool
	Start      int64 // in Unix nanoseconds, like Time
	Time       int64

	// Value is the value of a counter or gauge. Monotonic is true for a counter.
	Value     float64
	Monotonic bool

	// Histogram is true if the following fields are set.
	Histogram bool
	Count     int64
	Sum       float64
	Bounds    []float64
	Counts    []int64
}

// Span is a finished span.
type Span struct {
	TraceID    string
	SpanID     string
	ParentID   string
	State      string
	Name       string
	Kind       int
	Start      int64 // in Unix nanoseconds, like End
	End        int64
	Attributes Attributes
	Events     []string
	Status     int
	Message    string
	Scope      string
	Resource   Attributes
}

// KindServer and KindClient are values of Span.Kind, StatusError is a value of Span.Status.
const (
	KindServer  = 2
	KindClient  = 3
	StatusError = 2
)

// Metrics returns the latest state of every series that the Collector has received so far.
func (c *Collector) Metrics() ([]Point, error) {
	var points []Point
	index := map[string]int{}
	err := eachLine(c.metricsPath(), func(line []byte) error {
		var request metricsRequest
		if err := json.Unmarshal(line, &request); err != nil {
			return err
		}
		for _, point := range request.points() {
			key, err := json.Marshal([]any{point.Metric, point.Resource, point.Attributes})
			if err != nil {
				return err
			}
			i, seen := index[string(key)]
			switch {
			case !seen:
				index[string(key)] = len(points)
				points = append(points, point)
			case point.Time >= points[i].Time:
				points[i] = point
			}
		}
		return nil
	})
	return points, err
}

// Spans returns all spans that the Collector has received so far.
func (c *Collector) Spans() ([]Span, error) {
	var spans []Span
	err := eachLine(c.spansPath(), func(line []byte) error {
		var request tracesRequest
		if err := json.Unmarshal(line, &request); err != nil {
			return err
		}
		spans = append(spans, request.spans()...)
		return nil
	})
	return spans, err
}

// eachLine calls do for each complete line of the file. A missing file has no lines.
func eachLine(path string, do func([]byte) error) error {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for line := range bytes.Lines(content) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			return nil
		}
		if err := do(line); err != nil {
			return fmt.Errorf("%s: %w: %s", path, err, line)
		}
	}
	return nil
}

// OTLP's JSON encoding: 64-bit integers are strings, IDs are hexadecimal.

type resource struct {
	Attributes keyValues `json:"attributes"`
}

type scope struct {
	Name string `json:"name"`
}

type metricsRequest struct {
	ResourceMetrics []struct {
		Resource     resource `json:"resource"`
		ScopeMetrics []struct {
			Scope   scope    `json:"scope"`
			Metrics []metric `json:"metrics"`
		} `json:"scopeMetrics"`
	} `json:"resourceMetrics"`
}

type metric struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Unit        string `json:"unit"`
	Sum         *data  `json:"sum"`
	Gauge       *data  `json:"gauge"`
	Histogram   *data  `json:"histogram"`
}

type data struct {
	Temporality int         `json:"aggregationTemporality"`
	Monotonic   bool        `json:"isMonotonic"`
	Points      []dataPoint `json:"dataPoints"`
}

const cumulative = 2

type dataPoint struct {
	Attributes keyValues `json:"attributes"`
	Start      int64     `json:"startTimeUnixNano,string"`
	Time       int64     `json:"timeUnixNano,string"`
	AsInt      int64     `json:"asInt,string"`
	AsDouble   float64   `json:"asDouble"`
	Count      int64     `json:"count,string"`
	Sum        float64   `json:"sum"`
	Bounds     []float64 `json:"explicitBounds"`
	Counts     []string  `json:"bucketCounts"`
}

func (r metricsRequest) points() []Point {
	var points []Point
	for _, rm := range r.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				for _, d := range []*data{m.Sum, m.Gauge, m.Histogram} {
					if d == nil {
						continue
					}
					for _, p := range d.Points {
						point := m.point(d, p)
						point.Scope = sm.Scope.Name
						point.Resource = rm.Resource.Attributes.attributes()
						points = append(points, point)
					}
				}
			}
		}
	}
	return points
}

func (m metric) point(d *data, p dataPoint) Point {
	point := Point{
		Metric: m.Name, Unit: m.Unit, Description: m.Description,
		Attributes: p.Attributes.attributes(),
		Cumulative: d.Temporality == cumulative, Monotonic: d.Monotonic,
		Start: p.Start, Time: p.Time,
		Value:     p.AsDouble + float64(p.AsInt), // one of them is 0
		Histogram: d == m.Histogram, Count: p.Count, Sum: p.Sum, Bounds: p.Bounds,
	}
	for _, text := range p.Counts {
		count, _ := strconv.ParseInt(text, 10, 64) // the Collector writes valid numbers
		point.Counts = append(point.Counts, count)
	}
	return point
}

type tracesRequest struct {
	ResourceSpans []struct {
		Resource   resource `json:"resource"`
		ScopeSpans []struct {
			Scope scope  `json:"scope"`
			Spans []span `json:"spans"`
		} `json:"scopeSpans"`
	} `json:"resourceSpans"`
}

type span struct {
	TraceID    string    `json:"traceId"`
	SpanID     string    `json:"spanId"`
	ParentID   string    `json:"parentSpanId"`
	State      string    `json:"traceState"`
	Name       string    `json:"name"`
	Kind       int       `json:"kind"`
	Start      int64     `json:"startTimeUnixNano,string"`
	End        int64     `json:"endTimeUnixNano,string"`
	Attributes keyValues `json:"attributes"`
	Events     []struct {
		Name string `json:"name"`
	} `json:"events"`
	Status struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
}

func (r tracesRequest) spans() []Span {
	var spans []Span
	for _, rs := range r.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				one := Span{
					TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID, State: s.State,
					Name: s.Name, Kind: s.Kind, Start: s.Start, End: s.End,
					Attributes: s.Attributes.attributes(), Status: s.Status.Code, Message: s.Status.Message,
					Scope: ss.Scope.Name, Resource: rs.Resource.Attributes.attributes(),
				}
				for _, event := range s.Events {
					one.Events = append(one.Events, event.Name)
				}
				spans = append(spans, one)
			}
		}
	}
	return spans
}

type keyValues []struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	String *string  `json:"stringValue"`
	Bool   *bool    `json:"boolValue"`
	Int    *int64   `json:"intValue,string"`
	Double *float64 `json:"doubleValue"`
	Array  *struct {
		Values []value `json:"values"`
	} `json:"arrayValue"`
}

func (k keyValues) attributes() Attributes {
	attributes := Attributes{}
	for _, pair := range k {
		attributes[pair.Key] = pair.Value.value()
	}
	return attributes
}

func (v value) value() any {
	switch {
	case v.String != nil:
		return *v.String
	case v.Bool != nil:
		return *v.Bool
	case v.Int != nil:
		return *v.Int
	case v.Double != nil:
		return *v.Double
	case v.Array != nil:
		values := []any{}
		for _, element := range v.Array.Values {
			values = append(values, element.value())
		}
		return values
	}
	return nil
}
