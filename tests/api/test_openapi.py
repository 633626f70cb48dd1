"""The description of the API is what serves: routes, parameters, bodies, answers, messages."""

from __future__ import annotations

import inspect
import re
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.app import ROUTES, create_app
from gateway.errors import InvalidRequest
from gateway.handlers.jobs import LISTED_NAMES_LIMIT, NewJob
from gateway.handlers.websocket_channels import read_message
from gateway.http.middleware import STATUS_OF_ERROR
from gateway.monitors.backend import VARNISH_METRICS
from gateway.openapi.headers import REFUSALS
from gateway.openapi.parameters import QueryChoice, QueryInteger
from gateway.openapi.route import Route
from gateway.schemas.messages import FROM_CLIENT, FROM_GATEWAY
from gateway.settings import Settings
from support.database import StartApi
from support.described_responses import closed_components, document, problems_of

URL = "/api/v1/openapi.json"
API = [route for route in ROUTES if not route.is_page]
QUERIES = [(route, parameter) for route in API for parameter in route.query]


def each_route() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", API, ids=lambda route: route.operation_id)


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][route.template][route.method.lower()]
    return found


async def test_the_document_is_valid_openapi_3_1(start_shared_api: StartApi) -> None:
    api = await start_shared_api()
    response = await api.get(URL, headers={"X-API-Key": ""})
    served = await response.json()
    assert served["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(served).iter_errors()) == []
    assert served == document()


async def test_who_has_the_document_need_not_get_it_again(start_shared_api: StartApi) -> None:
    api = await start_shared_api()
    first = await api.get(URL)
    again = await api.get(URL, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    changed = await api.get(URL, headers={"If-None-Match": '"another"'})
    assert changed.status == 200


def test_every_route_that_serves_is_described_and_no_other() -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in create_app(Settings()).router.routes()
        if route.resource is not None and route.method not in ("OPTIONS", "HEAD")
    }
    described = {
        (method.upper(), path)
        for path, operations in document()["paths"].items()
        for method in operations
    }
    pages = {(route.method, route.template) for route in ROUTES if route.is_page}
    assert served == described | pages
    assert not described & pages


def test_only_what_is_no_part_of_the_api_is_left_out() -> None:
    for route in ROUTES:
        is_ours = re.match(r"/(api/|livez$|ws$)", route.path)
        assert route.is_page is not bool(is_ours), route.path


@each_route()
def test_each_handler_says_what_it_does(route: Route) -> None:
    summary, _ = route.words
    assert operation(route)["summary"] == summary
    assert 5 < len(summary) < 100
    assert inspect.getdoc(inspect.getmodule(route.handler))


def test_operations_have_names_of_their_own() -> None:
    names = [route.operation_id for route in API]
    assert len(set(names)) == len(names)


@each_route()
def test_each_route_says_what_it_answers(route: Route) -> None:
    responses = operation(route)["responses"]
    assert any(int(status) < 400 for status in responses)
    for status, response in responses.items():
        assert response["description"]
        assert "X-Request-ID" in response["headers"]
        assert ("Retry-After" in response["headers"]) is (status in ("429", "503"))


@each_route()
def test_what_wants_a_key_says_so(route: Route) -> None:
    security = operation(route)["security"]
    assert ({"ApiKey": []} in security) is ("401" in operation(route)["responses"])


def test_every_error_has_a_status_that_is_explained() -> None:
    assert {*STATUS_OF_ERROR.values(), 417, 500} == set(REFUSALS)
    told = {status for route in API for status in operation(route)["responses"]}
    assert told >= {str(status) for status in REFUSALS}


@pytest.mark.parametrize(
    ("route", "parameter"), QUERIES, ids=[f"{r.operation_id}-{p.name}" for r, p in QUERIES]
)
async def test_a_query_is_held_to_what_is_described(
    start_shared_api: StartApi, route: Route, parameter: Any
) -> None:
    """The handler reads what the description shows: its bounds are those that hold."""
    api = await start_shared_api()
    named = [p for p in operation(route)["parameters"] if p["name"] == parameter.name]
    assert [p["schema"] for p in named] == [parameter.schema]
    if isinstance(parameter, QueryInteger):
        good = [str(parameter.least), str(parameter.most)]
        bad = [str(parameter.least - 1), str(parameter.most + 1), "1.5", ""]
    else:
        good, bad = [str(word) for word in parameter.choices], ["", "nonsense"]
    path = route.template.format(job_id="6bb4629b-1487-477c-96fe-b762d82a099b")
    for value in [*good, *bad]:
        response = await api.request(route.method, path, params={parameter.name: value})
        assert (response.status == 400) is (value in bad), value


@pytest.mark.parametrize("route", dict(QUERIES), ids=lambda route: route.operation_id)
async def test_a_query_that_is_not_described_or_said_twice_is_refused(
    start_shared_api: StartApi, route: Route
) -> None:
    api = await start_shared_api()
    path = route.template.format(job_id="6bb4629b-1487-477c-96fe-b762d82a099b")
    for query, sentence in {
        "stauts=failed": "Unknown parameter: 'stauts' (allowed: status, limit, offset)",
        "limit=1&=x": "Unknown parameter: '' (allowed: status, limit, offset)",
        "a%0Ab": "Unknown parameter: 'a\\nb' (allowed: status, limit, offset)",
        "limit=1&limit=1": "limit is given more than once",
    }.items():
        response = await api.request(route.method, f"{path}?{query}")
        assert (response.status, (await response.json())["error"]) == (400, sentence)


@pytest.mark.parametrize("parameter", [p for _, p in QUERIES], ids=lambda p: p.name)
def test_a_query_that_says_nothing_is_the_default(parameter: QueryInteger | QueryChoice) -> None:
    value = parameter.read({})
    assert value == parameter.schema.get("default")
    with pytest.raises(InvalidRequest, match=parameter.name):
        parameter.read({parameter.name: "\N{ARABIC-INDIC DIGIT ONE}"})


def test_the_body_of_a_submit_is_described_as_it_is_read() -> None:
    schema = document()["components"]["schemas"]["NewJob"]
    assert set(schema["properties"]) == set(NewJob.model_fields)
    assert schema["additionalProperties"] is False
    assert f"{LISTED_NAMES_LIMIT:,}" in schema["description"]


@pytest.mark.parametrize(
    "body", [{}, {"files": []}, {"files": [1]}, {"files": ["a"], "x": 1}], ids=str
)
def test_what_a_submit_refuses_is_not_valid_by_the_description(body: Any) -> None:
    assert list(problems_of("#/components/schemas/NewJob", body))


def test_every_example_is_valid() -> None:
    seen = 0
    for name, schema in document()["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            assert list(problems_of(f"#/components/schemas/{name}", example)) == []
            seen += 1
    assert seen >= 5


@each_route()
def test_every_error_comes_with_an_example_of_its_sentence(route: Route) -> None:
    for status, response in operation(route)["responses"].items():
        content = response.get("content", {}).get("application/json", {})
        if int(status) >= 400 and content["schema"]["$ref"].endswith("/Refusal"):
            assert list(problems_of(content["schema"]["$ref"], content["example"])) == []
            assert content["example"]["error"] == REFUSALS[int(status)].example


def test_every_message_of_the_websocket_is_described() -> None:
    route = next(route for route in API if route.path == "/ws")
    told = operation(route)["x-messages"]
    for side, shapes in (("fromClient", FROM_CLIENT), ("fromGateway", FROM_GATEWAY)):
        names = [reference["$ref"].rpartition("/")[2] for reference in told[side]]
        assert names == [message.__name__ for message in shapes]
        for name in names:
            assert f"`{name}`" in operation(route)["description"]


def kinds_of(message: Any) -> set[str]:
    schema = document()["components"]["schemas"][message.__name__]["properties"]["type"]
    return set(schema.get("enum", [schema.get("const")]))


@pytest.mark.parametrize("message", FROM_CLIENT, ids=lambda message: message.__name__)
def test_what_a_client_may_send_is_understood(message: Any) -> None:
    (kind,) = kinds_of(message)
    assert read_message(orjson.dumps({"type": kind})) == {"type": kind}


def test_no_other_message_is_understood() -> None:
    told = {kind for message in FROM_CLIENT for kind in kinds_of(message)}
    with pytest.raises(InvalidRequest) as refusal:
        read_message(b'{"type": "nonsense"}')
    assert told == set(refusal.value.message.rpartition(" is ")[2].split(", "))


def test_the_figures_of_the_cache_are_those_that_the_backend_is_asked_for() -> None:
    assert set(document()["components"]["schemas"]["VarnishMetrics"]["properties"]) == set(
        VARNISH_METRICS
    )


def test_a_field_that_is_not_described_is_noticed() -> None:
    reference = "#/components/schemas/Refusal"
    good = {"success": False, "error": "Job not found"}
    assert list(problems_of(reference, good)) == []
    assert list(problems_of(reference, good | {"more": 1}))
    assert list(problems_of(reference, {"success": False}))


def test_shapes_are_closed_for_the_tests_only() -> None:
    schemas = document()["components"]["schemas"]
    assert "additionalProperties" not in schemas["JobDetail"]
    assert closed_components()["schemas"]["JobDetail"]["additionalProperties"] is False
