"""Our projects at the fake and the real Label Studio, and the keys and addresses of a server."""

from __future__ import annotations

import pytest
from fakes.clients import ADMIN, rest
from fakes.label_studio import jwt

from labelstudio.client import projects
from labelstudio.client.backend import LabelStudio
from labelstudio.client.connection import Unreachable
from labelstudio.exchange.records import AnnotationError

pytestmark = pytest.mark.usefixtures("impatient")


# --- projects ---


def test_a_project_is_found_again_by_its_exact_title(admin):
    titles = ["exact title", "exact title 2", "Exact Title", "an exact title"]
    created = {title: admin.ensure_project(title).id for title in titles}
    assert len(set(created.values())) == len(titles)
    assert {title: admin.ensure_project(title).id for title in titles} == created


def test_a_title_the_server_would_refuse_is_refused_before(admin):
    with pytest.raises(AnnotationError, match="51 characters"):
        admin.ensure_project("x" * 51)
    assert admin.ensure_project("x" * 50).title == "x" * 50


def test_somebody_elses_project_is_left_alone(label_studio, admin):
    config = '<View><Image name="image" value="$image"/></View>'
    theirs = rest(label_studio).post("/api/projects", json={"title": "somebody else's", "label_config": config}).json()
    with pytest.raises(AnnotationError, match="another labelling interface"):
        admin.ensure_project("somebody else's")
    after = rest(label_studio).get(f"/api/projects/{theirs['id']}").json()
    assert after["label_config"] == config


def test_another_layout_of_the_same_interface_is_ours(label_studio, admin, project):
    config = projects.INTERFACE.replace("\n", "\n\n   ")
    reply = rest(label_studio).patch(f"/api/projects/{project.id}", json={"label_config": config})
    assert reply.ok
    assert admin.ensure_project(project.title) == project


def test_a_notice_stands_before_the_instructions_and_changes_nothing_of_them(label_studio, admin, project):
    path = f"/api/projects/{project.id}/"

    def shown():
        return rest(label_studio).get(path).json()["expert_instruction"]

    edited = "<p>Look at <b>rulers</b> &amp; hairs.</p>"
    assert rest(label_studio).patch(path, json={"expert_instruction": edited}).ok
    for notice in ('<p><b>Wait</b> for <a href="http://there/2">more</a>.</p><br>', "<p>Now\nwait.</p>"):
        admin.announce(project, notice)
        assert shown() == f'<div class="lookaway">{notice}</div>{edited}'
    for _ in range(2):
        admin.announce(project, "")
        assert shown() == edited


def interface_of(label_studio, number):
    return rest(label_studio).get(f"/api/projects/{number}").json()["label_config"]


def test_a_renamed_project_is_found_and_another_of_its_title_is_not_taken(label_studio, admin, project):
    http = rest(label_studio)
    assert http.patch(f"/api/projects/{project.id}", json={"title": "renamed by somebody"}).ok
    foreign = {"title": project.title, "label_config": projects.INTERFACE}
    assert http.post("/api/projects", json=foreign).ok
    for known in (None, project.known()):
        found = admin.ensure_project(project.title, known=known)
        assert (found.id, found.name, found.title) == (project.id, "renamed by somebody", project.title)


def test_a_project_whose_mark_was_lost_is_known_by_its_number(label_studio, admin, project):
    body = {"title": "renamed, edited", "label_config": projects.INTERFACE}
    assert rest(label_studio).patch(f"/api/projects/{project.id}", json=body).ok
    assert admin.ensure_project(project.title, known=project.known()).id == project.id
    assert projects.mark(project.title) in interface_of(label_studio, project.id), "it has its mark again"
    later = (project.id, "2031-01-01T00:00:00Z")  # the same number on a server that lost its data
    body = {"title": "somebody else's now", "label_config": projects.INTERFACE}
    assert rest(label_studio).patch(f"/api/projects/{project.id}", json=body).ok
    assert admin.ensure_project(project.title, known=later).id != project.id


def test_a_project_of_an_earlier_version_is_taken_and_marked(label_studio, admin):
    body = {"title": "made by an earlier version", "label_config": projects.INTERFACE}
    old = rest(label_studio).post("/api/projects", json=body).json()
    assert admin.ensure_project(body["title"]).id == old["id"]
    assert projects.mark(body["title"]) in interface_of(label_studio, old["id"])


def test_an_edited_project_of_ours_is_refused_and_can_be_given_up(label_studio, admin, project):
    config = '<View><Image name="image" value="$image"/></View>'
    edited = {"title": "renamed, other", "label_config": f"{config}\n{projects.mark(project.title)}"}
    http = rest(label_studio)
    assert http.patch(f"/api/projects/{project.id}", json=edited).ok
    for known in (None, project.known()):
        with pytest.raises(AnnotationError, match=r"another labelling interface.*remove its line `<!-- lookaway: "):
            admin.ensure_project(project.title, known=known)
    assert http.patch(f"/api/projects/{project.id}", json={"label_config": config}).ok
    assert admin.ensure_project(project.title, known=project.known()).id != project.id


def test_two_projects_with_one_mark_are_not_chosen_between(label_studio, admin, project, tmp_path):
    body = {"title": "a copy", "label_config": interface_of(label_studio, project.id)}
    copy = rest(label_studio).post("/api/projects", json=body).json()
    with pytest.raises(AnnotationError, match=rf"2 projects .* numbers .*\b{copy['id']}\b.*Fix: remove the line"):
        admin.ensure_project(project.title)
    assert admin.ensure_project(project.title, known=project.known()) == project


# --- keys and addresses ---


def test_a_wrong_key_is_named_without_being_shown(label_studio):
    key = "0123456789abcdef0123456789abcdef01234567"
    with pytest.raises(AnnotationError, match="does not accept the API key") as caught:
        LabelStudio(label_studio.url, key).check()
    assert label_studio.url in str(caught.value)
    assert key not in str(caught.value)


def test_a_personal_access_token_works_as_well(label_studio, request):
    token = getattr(label_studio, "personal_access_token", None) or request.getfixturevalue("personal_access_token")
    assert LabelStudio(label_studio.url, token).check() == ADMIN
    with pytest.raises(AnnotationError, match="does not accept the API key"):
        LabelStudio(label_studio.url, token[:-4] + "AAAA").check()


def test_an_expired_personal_access_token_is_refused():
    with pytest.raises(AnnotationError, match="does not accept the API key"):
        LabelStudio("http://localhost:8080", jwt("refresh", 1, lifetime_s=-60))


def test_nobody_there():
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 .*Fix: start it \(`lookaway server start`\)"):
        LabelStudio("http://127.0.0.1:9", "key").check()


@pytest.mark.parametrize("url", ["localhost:8080", "8080", "ftp://localhost", ""])
def test_what_is_no_url_is_said_to_be_none(url):
    with pytest.raises(AnnotationError, match="not a Label Studio URL"):
        LabelStudio(url, "key")
