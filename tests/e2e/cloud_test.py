#!/usr/bin/env python3
"""The embedded AWS, judged by boto3: `caravel cloud` with simulated instances, all on loopback.

usage: tests/e2e/cloud_test.py [path of the caravel binary]
"""
import json, os, shutil, socket, subprocess, sys, tempfile, time, base64

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError
except ImportError:
    print("skipped: boto3 is not installed (Debian: python3-boto3)")
    sys.exit(77)

CARAVEL = sys.argv[1] if len(sys.argv) > 1 else "build/caravel"
checks = 0


def check(what, good, detail=""):
    global checks
    checks += 1
    if not good:
        raise SystemExit(f"FAIL {what}: {detail}")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        check(code, e.response["Error"]["Code"] == code, e)
        return e
    raise SystemExit(f"FAIL {code}: the call was not refused")


def until(what, probe, seconds=15):
    end = time.time() + seconds
    while time.time() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.1)
    raise SystemExit(f"FAIL {what}: not within {seconds} s")


class World:
    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    def start(self):
        self.process = subprocess.Popen([CARAVEL, "cloud", "--data-dir", self.directory, "--listen", f"127.0.0.1:{self.port}", "--substrate", "hollow", "--boot-delay", "200ms"],
                                        stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("FAIL the cloud does not listen")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self, service, key="test", secret="test", token=None):
        return boto3.client(service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}", aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
                            config=Config(retries={"max_attempts": 1}))


def network(w):
    ec2 = w.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    check("nine subnets", len(subnets) == 9, subnets)
    public = ec2.describe_subnets(Filters=[{"Name": "tag:kubernetes.io/role/elb", "Values": ["1"]}])["Subnets"]
    check("three public ones", {s["CidrBlock"] for s in public} == {"10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"})
    check("NAT in each zone", len(until("NAT", lambda: ec2.describe_nat_gateways(Filters=[{"Name": "state", "Values": ["available"]}])["NatGateways"])) == 3)
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=subnets[0]["VpcId"])["GroupId"]
    rule = dict(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}])
    ec2.authorize_security_group_ingress(**rule)
    refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, **rule)
    refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="web", Description="web", VpcId=subnets[0]["VpcId"])
    have = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    check("the rule", have[0]["IpRanges"][0]["CidrIp"] == "10.0.0.0/16", have)
    ec2.revoke_security_group_ingress(**rule)
    ec2.delete_security_group(GroupId=group)
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[group])
    eni = ec2.create_network_interface(SubnetId=public[0]["SubnetId"], SecondaryPrivateIpAddressCount=2)["NetworkInterface"]
    check("three addresses", len(eni["PrivateIpAddresses"]) == 3, eni)
    prefix = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni["NetworkInterfaceId"], Ipv4PrefixCount=1)["AssignedIpv4Prefixes"][0]["Ipv4Prefix"]
    check("a /28", prefix.endswith("/28"), prefix)
    ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    refused("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-0123456789abcdef0"])
    refused("InvalidParameterValue", ec2.describe_subnets, Filters=[{"Name": "nonsense", "Values": ["1"]}])


def instances(w):
    ec2, ssm = w.client("ec2"), w.client("ssm")
    image = ssm.get_parameter(Name="/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id")["Parameter"]["Value"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.11.0/24"]}])["Subnets"][0]["SubnetId"]
    run = dict(ImageId=image, InstanceType="t3.medium", SubnetId=subnet, MinCount=1, MaxCount=1, UserData="hello", ClientToken="once",
               TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]}])
    refused("DryRunOperation", ec2.run_instances, DryRun=True, **{k: v for k, v in run.items() if k != "ClientToken"})
    check("a dry run leaves nothing", not ec2.describe_instances()["Reservations"])
    one = ec2.run_instances(**run)["Instances"][0]
    check("pending", one["State"]["Name"] == "pending", one)
    check("the same token, the same instance", ec2.run_instances(**run)["Instances"][0]["InstanceId"] == one["InstanceId"])
    i = one["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[i], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    data = ec2.describe_instance_attribute(InstanceId=i, Attribute="userData")["UserData"]["Value"]
    check("user data", base64.b64decode(data) == b"hello", data)
    refused("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
    refused("InvalidAMIID.NotFound", ec2.run_instances, ImageId="ami-0123456789abcdef0", InstanceType="t3.medium", SubnetId=subnet, MinCount=1, MaxCount=1)
    refused("InvalidParameterValue", ec2.run_instances, ImageId=image, InstanceType="m7g.large", SubnetId=subnet, MinCount=1, MaxCount=1)

    ec2.create_launch_template(LaunchTemplateName="node", LaunchTemplateData={"ImageId": image, "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["caravel-node"]}])["SecurityGroups"][0]["GroupId"]]}]})
    private = [s["SubnetId"] for s in ec2.describe_subnets(Filters=[{"Name": "tag:karpenter.sh/discovery", "Values": ["caravel"]}])["Subnets"]]
    fleet = dict(Type="instant", LaunchTemplateConfigs=[{"LaunchTemplateSpecification": {"LaunchTemplateName": "node", "Version": "$Latest"},
                                                         "Overrides": [{"InstanceType": t, "SubnetId": s} for t in ("m5.large", "t3.medium") for s in private]}],
                 TargetCapacitySpecification={"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"}, OnDemandOptions={"AllocationStrategy": "lowest-price"},
                 TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "fleet", "Value": "yes"}]}])
    refused("DryRunOperation", ec2.create_fleet, DryRun=True, **fleet)
    made = ec2.create_fleet(**fleet)
    check("the cheapest", made["Instances"][0]["InstanceType"] == "t3.medium" and len(made["Instances"][0]["InstanceIds"]) == 2, made)
    tagged = ec2.describe_instances(Filters=[{"Name": "tag:fleet", "Values": ["yes"]}, {"Name": "instance-state-name", "Values": ["pending", "running"]}])
    check("tags on fleet instances", sum(len(r["Instances"]) for r in tagged["Reservations"]) == 2, tagged)
    refused("InvalidLaunchTemplateName.NotFoundException", ec2.describe_launch_templates, LaunchTemplateNames=["absent"])

    import urllib.request
    def drill(path, body, method="POST"):
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{w.port}/_caravel/{path}", json.dumps(body).encode(), method=method)).read()
    drill("capacity-faults", {"instanceType": "t3.medium"})
    out = ec2.create_fleet(**fleet)
    check("no capacity for the cheapest: an error item and the next type", out["Instances"][0]["InstanceType"] == "m5.large" and out["Errors"][0]["ErrorCode"] == "InsufficientInstanceCapacity"
          and out["Errors"][0]["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "t3.medium", out)
    drill("capacity-faults", {"instanceType": "t3.medium"}, "DELETE")

    sqs = w.client("sqs")
    url = sqs.get_queue_url(QueueName="caravel")["QueueUrl"]
    sqs.purge_queue(QueueUrl=url)
    spot = ec2.create_fleet(**{**fleet, "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}})["Instances"][0]
    check("spot", spot["Lifecycle"] == "spot", spot)
    drill("spot-interruptions", {"instanceId": spot["InstanceIds"][0]})
    kinds = [json.loads(m["Body"])["detail-type"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])]
    check("the warning is in the queue", "EC2 Spot Instance Interruption Warning" in kinds, kinds)
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="absent")

    everything = [x["InstanceId"] for r in ec2.describe_instances()["Reservations"] for x in r["Instances"]]
    ec2.terminate_instances(InstanceIds=everything)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=everything, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    check("no interface stays", not ec2.describe_network_interfaces(Filters=[{"Name": "attachment.device-index", "Values": ["0"]}])["NetworkInterfaces"])
    pages = list(ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 100}))
    check("the catalogue in pages", len(pages) > 5 and sum(len(p["InstanceTypes"]) for p in pages) > 500)
    price = json.loads(w.client("pricing").get_products(ServiceCode="AmazonEC2", Filters=[{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "t3.medium"}])["PriceList"][0])
    usd = next(iter(next(iter(price["terms"]["OnDemand"].values()))["priceDimensions"].values()))["pricePerUnit"]["USD"]
    check("the price", float(usd) == 0.0416, usd)


def load_balancers(w):
    ec2, elb = w.client("ec2"), w.client("elbv2")
    subnets = ec2.describe_subnets(Filters=[{"Name": "tag:kubernetes.io/role/elb", "Values": ["1"]}])["Subnets"]
    lb = elb.create_load_balancer(Name="web", Subnets=[s["SubnetId"] for s in subnets], Tags=[{"Key": "a", "Value": "b"}])["LoadBalancers"][0]
    elb.get_waiter("load_balancer_available").wait(LoadBalancerArns=[lb["LoadBalancerArn"]], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    group = elb.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"], TargetType="ip")["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.11.50"}])
    health = lambda: elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"][0]["TargetHealth"]["State"]
    check("unused without a listener", health() == "unused")
    listener = elb.create_listener(LoadBalancerArn=lb["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])["Listeners"][0]["ListenerArn"]
    until("healthy", lambda: health() == "healthy")
    elb.create_rule(ListenerArn=listener, Priority=1, Conditions=[{"Field": "path-pattern", "Values": ["/x/*"]}], Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}])
    check("rule and default", [r["Priority"] for r in elb.describe_rules(ListenerArn=listener)["Rules"]] == ["1", "default"])
    refused("PriorityInUse", elb.create_rule, ListenerArn=listener, Priority=1, Conditions=[{"Field": "path-pattern", "Values": ["/"]}], Actions=[{"Type": "forward", "TargetGroupArn": group}])
    refused("DuplicateListener", elb.create_listener, LoadBalancerArn=lb["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    refused("ResourceInUse", elb.delete_target_group, TargetGroupArn=group)
    check("tags", elb.describe_tags(ResourceArns=[lb["LoadBalancerArn"]])["TagDescriptions"][0]["Tags"] == [{"Key": "a", "Value": "b"}])
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.11.50"}])
    check("draining", health() == "draining")
    elb.delete_load_balancer(LoadBalancerArn=lb["LoadBalancerArn"])
    elb.delete_target_group(TargetGroupArn=group)
    refused("LoadBalancerNotFound", elb.describe_load_balancers, LoadBalancerArns=[lb["LoadBalancerArn"]])
    check("its interfaces are gone", not ec2.describe_network_interfaces(Filters=[{"Name": "description", "Values": ["ELB app/web/*"]}])["NetworkInterfaces"])


def identity(w):
    refused("InvalidClientTokenId", w.client("sts", key="AKIAUNKNOWN").get_caller_identity)
    refused("SignatureDoesNotMatch", w.client("sts", secret="wrong").get_caller_identity)
    refused("AuthFailure", w.client("ec2", secret="wrong").describe_vpcs)
    iam = w.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    who = w.client("sts", key["AccessKeyId"], key["SecretAccessKey"]).get_caller_identity()
    check("ann", who["Arn"].endswith(":user/ann"), who)
    session = w.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/caravel-karpenter", RoleSessionName="session")["Credentials"]
    who = w.client("sts", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]).get_caller_identity()
    check("the role", who["Arn"].endswith(":assumed-role/caravel-karpenter/session"), who)
    refused("NoSuchEntity", iam.get_instance_profile, InstanceProfileName="absent")
    check("the node profile", iam.get_instance_profile(InstanceProfileName="caravel-node")["InstanceProfile"]["Roles"][0]["RoleName"] == "caravel-node")
    eks = w.client("eks")
    check("the cluster", eks.describe_cluster(name="caravel")["cluster"]["status"] == "ACTIVE")
    refused("ResourceNotFoundException", eks.describe_cluster, name="absent")


def crash(w):
    """kill -9 loses nothing that was answered."""
    sqs = w.client("sqs")
    url = sqs.create_queue(QueueName="durable")["QueueUrl"]
    for n in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    vpcs = w.client("ec2").describe_vpcs()["Vpcs"]
    w.kill()
    w.start()
    count = w.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"]
    check("all messages", count == "20", count)
    check("the same VPC", w.client("ec2").describe_vpcs()["Vpcs"] == vpcs)


directory = tempfile.mkdtemp(prefix="caravel-cloud-")
world = World(directory)
try:
    world.start()
    for part in (network, instances, load_balancers, identity, crash):
        began = time.time()
        part(world)
        print(f"ok {part.__name__} ({time.time() - began:.1f} s)")
    print(f"PASS cloud: {checks} checks")
finally:
    world.kill()
    shutil.rmtree(directory)
